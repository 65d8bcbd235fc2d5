import dataclasses
import itertools
import re
from html.parser import HTMLParser

import pytest

from heedful.rendering.constitution_content import (
    ConstitutionFigures,
    PrincipleFigures,
    RevisionChain,
    RevisionFigures,
    RevisionStep,
)
from heedful.rendering.content import (
    Estimate,
    Example,
    ExampleGroup,
    LabelerFigures,
    LabelFigures,
    Mistake,
    ReportContent,
    RewardFigures,
    SampleText,
    StageCost,
)
from heedful.rendering.report import render_report, stamp, stamp_summary
from heedful.testing.reports import made_up_report

HOSTILE = (
    "</p></section><script>fetch('//evil.example')</script><img src=x onerror=alert(1)><!--heed:cost-->{{ 7 * 7 }}"
)
REQUESTING = {"src", "srcset", "action", "formaction", "poster", "data", "background", "ping"}


class Page(HTMLParser):
    """Elements and attributes as a browser would see them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.headings = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def html():
    return render_report(made_up_report())


def test_the_page_asks_for_nothing_outside_itself(html):
    page = Page(html)
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert not [each for each in page.attributes if each[1] in REQUESTING]
    links = {value for _, name, value in page.attributes if name in ("href", "xlink:href")}
    assert all(link.startswith(("#", "data:")) for link in links)
    assert set(re.findall(r"https?://[^\s\"'<]*", html)) == {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
    assert "@import" not in html
    assert "url(" not in re.sub(r"url\(#[^)]*\)", "", html)


def test_the_page_forbids_scripts_even_to_itself(html):
    policies = [value for tag, name, value in Page(html).attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policies


def test_the_same_content_gives_the_same_bytes(html):
    assert render_report(made_up_report()) == html


def test_headings_go_down_one_level_at_a_time(html):
    levels = Page(stamp(html, 60, None)).headings
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def hostile_constitution(given):
    step = RevisionStep(1, HOSTILE, HOSTILE, HOSTILE, skipped=HOSTILE)
    principle = PrincipleFigures(HOSTILE, HOSTILE, 1)
    return ConstitutionFigures(
        judge=dataclasses.replace(
            given.judge,
            judge=HOSTILE,
            criterion=HOSTILE,
            constitution=HOSTILE,
            skips={HOSTILE: 1},
            principles=(principle,),
        ),
        revisions=RevisionFigures(
            tuple(
                dataclasses.replace(each, scores={HOSTILE: Estimate(0.5)}, skips={HOSTILE: 1})
                for each in given.revisions.rounds
            ),
            (RevisionChain(HOSTILE, HOSTILE, 0.5, (step,)),),
        ),
        refusals=tuple(dataclasses.replace(each, model=HOSTILE, kind=HOSTILE) for each in given.refusals),
    )


def hostile_report():
    text = SampleText(HOSTILE, {HOSTILE: 1.0}, sensitive=True)
    made_up = made_up_report()
    return dataclasses.replace(
        made_up,
        title=HOSTILE,
        win_rate_by=HOSTILE,
        outcomes=tuple(dataclasses.replace(each, unit=HOSTILE, by=HOSTILE) for each in made_up.outcomes),
        examples=(ExampleGroup(HOSTILE, HOSTILE, (Example(HOSTILE, text, text),)),),
        reward=RewardFigures(HOSTILE, worst=(Mistake(HOSTILE, HOSTILE, HOSTILE),)),
        labels=LabelFigures((LabelerFigures(HOSTILE, flagged=True, reason=HOSTILE, planted=HOSTILE),), (HOSTILE,)),
        lineage=tuple(dataclasses.replace(each, role=HOSTILE, settings=HOSTILE) for each in made_up.lineage),
        constitution=hostile_constitution(made_up.constitution),
    )


def test_hostile_text_is_shown_as_text():
    html = render_report(hostile_report())
    page = Page(html)
    assert not {"script", "img"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "&lt;script&gt;fetch" in html
    assert "{{ 7 * 7 }}" in html
    assert html.count("<!--heed:cost-->") == 1


def test_sections_without_data_are_left_out(html):
    every = set(re.findall(r'<section id="([\w-]+)"', html))
    sections = "outcomes", "examples", "run", "reward-kl", "reward", "attack", "labels", "constitution", "lineage"
    assert every == set(sections)
    bare = render_report(ReportContent(title="Bare", outcomes=(), criterion=""))
    assert "<section" not in bare
    assert "Nothing was evaluated" in bare


@pytest.mark.parametrize("part", ["run", "reward", "attack", "labels", "constitution"])
def test_one_part_can_be_missing(part):
    html = render_report(dataclasses.replace(made_up_report(), **{part: None}))
    assert f'<section id="{part}"' not in html
    assert '<section id="outcomes"' in html


def test_generated_data_are_named_in_the_title_and_beside_the_verdict(html):
    title = re.search(r"<title>(.*)</title>", html).group(1)
    verdict = re.search(r'<p class="verdict">(.*)</p>', html).group(1)
    assert "(generated data)" in title
    assert "generated data" in verdict
    said = render_report(dataclasses.replace(made_up_report(), title="Advice (generated data)"))
    assert re.search(r"<title>(.*)</title>", said).group(1) == "Advice (generated data)"
    real = dataclasses.replace(made_up_report(), generated=False)
    assert "generated data" not in render_report(real)


def test_a_sensitive_text_is_folded_away_and_others_are_not(html):
    folded = re.findall(r"<details class=\"fold\">(.*?)</details>", html, re.DOTALL)
    assert len(folded) == 2
    assert all("Stop whining" in each for each in folded)
    assert "Yeast that old" not in "".join(folded)


def test_worst_mistakes_are_folded_with_a_warning(html):
    section = html[html.index('<section id="reward">') :]
    fold = re.search(r"<details class=\"fold screen-only\">(.*?)</details>", section, re.DOTALL).group(1)
    assert "may be rude or harmful" in fold
    assert "the glass is broken" in fold


def test_time_and_memory_are_stamped_once_however_often(html):
    assert 'id="cost"' not in html
    first = stamp(html, 238, 1 << 30, [StageCost("align", 96, 1 << 30)])
    second = stamp(first, 250, 1 << 30)
    assert first.count('id="cost"') == second.count('id="cost"') == 1
    assert "3 min 58 s" in first and "3 min 58 s" not in second
    assert "4 min 10 s" in second
    assert stamp(second, 238, 1 << 30, [StageCost("align", 96, 1 << 30)]) == first


def test_a_summary_is_stamped_in_a_copy():
    summary = {"verdict": "v"}
    assert stamp_summary(summary, 12.5, None) == {"verdict": "v", "seconds": 12.5, "peak_memory_bytes": None}
    assert summary == {"verdict": "v"}
