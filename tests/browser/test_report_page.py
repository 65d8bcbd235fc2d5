"""The report as a reader has it: on a telephone, in the dark, on paper."""

import itertools

import pytest

from heedful.rendering.content import StageCost
from heedful.rendering.report import render_report, stamp
from heedful.testing.reports import made_up_report

pytestmark = pytest.mark.browser

SMALLEST_SCREEN = {"width": 360, "height": 740}
DESKTOP = {"width": 1200, "height": 900}
CONTRAST_OF_TEXT = 4.5
CONTRAST_OF_MODEL_TEXT = 7.0
SMALLEST_CHART_TEXT = 10.0
"""Pixels, on the smallest screen."""
A4_WIDTH = 794
"""CSS pixels."""

CONTRAST = """
selector => {
  const luminance = colour => {
    const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
      .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  const paper = luminance(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll(selector)].map(element => {
    const style = getComputedStyle(element);
    const ink = luminance(element instanceof SVGElement ? style.fill : style.color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  });
}
"""


MEMORY = {
    "rollout": {
        "before": 400 << 20,
        "frozen": 53 << 20,
        "trainable": 4 << 20,
        "optimizer": 8 << 20,
        "cache": 90 << 20,
        "rest": 80 << 20,
    },
    "update": {
        "before": 400 << 20,
        "frozen": 53 << 20,
        "trainable": 4 << 20,
        "gradients": 4 << 20,
        "optimizer": 8 << 20,
        "rest": 555 << 20,
    },
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The address of a stamped report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    html = stamp(render_report(made_up_report()), 238.0, 1 << 30, [StageCost("align", 96.0, 1 << 30, MEMORY)])
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def open_page(chromium, report):
    """Open the report; remembers what the page said and asked for."""
    pages = []

    def open_it(viewport=DESKTOP, scheme="light"):
        page = chromium.new_page(viewport=viewport, color_scheme=scheme)
        page.complaints, page.requests = [], []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(report)
        pages.append(page)
        return page

    yield open_it
    for page in pages:
        page.close()


def test_the_page_complains_about_nothing_and_asks_for_nothing(open_page, report):
    page = open_page()
    page.wait_for_load_state("networkidle")
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith("data:")] == [report]


@pytest.mark.parametrize("viewport", [SMALLEST_SCREEN, DESKTOP], ids=["telephone", "desktop"])
def test_nothing_sticks_out_sideways(open_page, viewport):
    page = open_page(viewport)
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_charts_can_be_read_on_a_telephone(open_page):
    page = open_page(SMALLEST_SCREEN)
    heights = page.evaluate(
        "[...document.querySelectorAll('.chart svg text')].map(t => "
        "parseFloat(getComputedStyle(t).fontSize) * (t.getScreenCTM()?.a ?? 0)).filter(height => height > 0)"
    )
    assert len(heights) > 20
    assert min(heights) >= SMALLEST_CHART_TEXT


def test_one_picture_of_the_distribution_is_shown_at_a_time(open_page):
    for viewport in (SMALLEST_SCREEN, DESKTOP):
        page = open_page(viewport)
        assert page.locator(".on-wide").is_visible() != page.locator(".on-narrow").is_visible()


def test_headings_go_down_one_level_at_a_time(open_page):
    levels = open_page().evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_paper(open_page, scheme):
    page = open_page(scheme=scheme)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(254, 254, 254)"
    assert dark == (scheme == "dark")
    assert min(page.evaluate(CONTRAST, "p, h1, h2, h3, td, th, dd, dt, summary, small, .tag")) >= CONTRAST_OF_TEXT
    assert min(page.evaluate(CONTRAST, ".model-text, .verdict")) >= CONTRAST_OF_MODEL_TEXT
    assert min(page.evaluate(CONTRAST, ".chart svg text")) >= CONTRAST_OF_TEXT


def test_a_folded_text_is_hidden_until_asked_for(open_page):
    page = open_page()
    text = page.get_by_text("Stop whining").first
    assert not text.is_visible()
    page.get_by_text("Rude or harmful text, folded away").first.click()
    assert text.is_visible()


def test_on_paper_ink_is_black_and_nothing_is_cut_off(open_page):
    page = open_page({"width": A4_WIDTH, "height": 1000}, scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= A4_WIDTH
    assert page.locator(".lineage").is_visible()
    assert len(page.pdf(prefer_css_page_size=True)) > 0
