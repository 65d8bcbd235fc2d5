"""The words of the pages in the reader's language: gettext catalogs beside this file, English in the source itself."""

from __future__ import annotations

import functools
import gettext
from importlib import resources

from heedful.errors import ConfigError

SOURCE = "en"
LANGUAGES = {"en": "English", "de": "Deutsch"}
"""Code to the language's own name."""
COOKIE = "heed-language"


@functools.cache
def translations(language: str) -> gettext.NullTranslations:
    """Return the catalog of a language; the source language needs none."""
    if language == SOURCE:
        return gettext.NullTranslations()
    path = resources.files(__package__) / "locale" / language / "LC_MESSAGES" / "heed.mo"
    try:
        with path.open("rb") as stream:
            return gettext.GNUTranslations(stream)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such catalog; install Heedful again") from None


def chosen_language(stored: str | None, accepted: str) -> str:
    """Return the language of a reader: the one chosen before, else the first of `Accept-Language` that there is, else English."""
    if stored in LANGUAGES:
        return stored
    return next((code for code in _accepted(accepted) if code in LANGUAGES), SOURCE)


def _accepted(header: str) -> list[str]:
    """The primary codes of an `Accept-Language` header, most wanted first; what cannot be read is passed over."""
    wanted = []
    for place, part in enumerate(header[:500].split(",")):
        name, _, rest = part.strip().partition(";")
        weight = rest.strip().removeprefix("q=") or "1"
        try:
            wanted.append((-float(weight), place, name.split("-")[0].lower()))
        except ValueError:
            continue
    return [code for weight, _, code in sorted(wanted) if weight < 0]
