"""The words of the pages: no catalog lacks one, and what is shipped compiled is what stands in the source."""

from __future__ import annotations

import io
import re
from importlib import resources
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po

from heedful.apps.web import languages
from heedful.apps.web.languages import LANGUAGES, SOURCE, chosen_language, translations
from heedful.feedback.trust.reasons import SENTENCES, Said, in_english, in_words

WEB = Path(str(resources.files("heedful.apps.web")))
WORDS = (WEB, Path(str(resources.files("heedful.feedback.trust"))))
OTHERS = sorted(set(LANGUAGES) - {SOURCE})
SHARES = {"s2", "low", "high", "peers", "turned"}
_HOLES = re.compile(r"%\(\w+\)s|\{\w+\}")


def words_used() -> set[object]:
    methods = [("**.py", "python"), ("**.html.j2", "jinja2")]
    keywords = {"_": None, "gettext": None, "ngettext": (1, 2), "translate": None}
    options = {"**.html.j2": {"trimmed": "true"}}
    found = (row for folder in WORDS for row in extract_from_dir(folder, methods, options, keywords=keywords))
    return {message for _, _, message, _, _ in found}


def catalog(language: str):
    with (WEB / "locale" / language / "LC_MESSAGES" / "heed.po").open("rb") as stream:
        return read_po(stream)


@pytest.mark.parametrize("language", OTHERS)
def test_every_word_is_translated_and_none_is_left_over(language):
    known = {message.id: message for message in catalog(language) if message.id}
    assert words_used() == set(known)
    assert [message.id for message in known.values() if not message.string or not all(message.string)] == []
    assert not any(message.fuzzy for message in known.values())


@pytest.mark.parametrize("language", OTHERS)
def test_every_sentence_about_a_labeler_can_be_said(language):
    """Holes are filled in the translation as in the source; per cent signs are doubled in both."""
    translated = translations(language).gettext
    for code, text in SENTENCES.items():
        names = {hole[2:-2] for hole in _HOLES.findall(text)}
        (said,) = [Said(code, {name: 0.5 if name in SHARES else 7 for name in names})]
        spoken = in_words((said,), translated, "{:.0%}".format)
        assert spoken != in_english((said,))
        assert "%(" not in spoken
        assert spoken.count("50%") == len(names & SHARES)
        assert "%%" not in spoken


@pytest.mark.parametrize("language", OTHERS)
def test_translations_have_the_same_holes(language):
    for message in catalog(language):
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        for text in strings if message.id else ():
            assert set(_HOLES.findall(text)) == set(_HOLES.findall(ids[-1])), message.id


@pytest.mark.parametrize("language", OTHERS)
def test_the_compiled_catalog_is_that_of_the_source(language):
    buffer = io.BytesIO()
    write_mo(buffer, catalog(language))
    buffer.seek(0)
    with (WEB / "locale" / language / "LC_MESSAGES" / "heed.mo").open("rb") as stream:
        shipped = read_mo(stream)
    assert [(m.id, m.string) for m in shipped if m.id] == [(m.id, m.string) for m in read_mo(buffer) if m.id]


@pytest.mark.parametrize(
    ("stored", "accepted", "chosen"),
    [
        (None, "", "en"),
        (None, "de-AT,de;q=0.9,en;q=0.5", "de"),
        (None, "fr, de;q=0.2, en;q=0.1", "de"),
        (None, "en;q=0.3, de;q=0.4", "de"),
        (None, "de;q=0, fr", "en"),
        (None, "de;q=x, ;;, en", "en"),
        ("en", "de", "en"),
        ("de", "en", "de"),
        ("xx; Path=/", "de", "de"),
    ],
)
def test_the_language_is_the_one_chosen_else_the_one_asked_for(stored, accepted, chosen):
    assert chosen_language(stored, accepted) == chosen


def test_a_page_comes_in_the_language_asked_for_and_then_in_the_one_chosen(site):
    visitor = site.visitor(site.user("anna"))
    german = {"accept-language": "de"}
    assert "Ihre Projekte" in visitor.get("/", headers=german).text
    visitor.post("/settings", {"language": "en", "keys": "off"})
    page = visitor.get("/", headers=german).text
    assert "Your projects" in page
    assert 'data-keys="off"' in page


def test_plurals_are_those_of_the_language():
    one, many = "See the %(num)s task", "See all %(num)s tasks"
    assert translations("de").ngettext(one, many, 1) != translations("de").ngettext(one, many, 2)
    assert languages.translations("en").ngettext(one, many, 2) == many
