"""From a matplotlib figure to inline SVG: the same bytes every time, readable on light and dark paper, no request, no clock.

Text stays text (the reader's own font), colours become CSS variables, ids get the chart's name in front so that two charts on a
page do not share one. matplotlib is imported when a chart is drawn.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT, MUTED, RULE = "#111111", "#555555", "#bbbbbb"
BEFORE, AFTER, REWARD, KL, ALERT, PEOPLE = "#6b7280", "#2563eb", "#15803d", "#c2410c", "#b91c1c", "#6d28d9"
PAPER = "#fefefe"

_VARIABLES = {
    TEXT: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--axis)",
    PAPER: "var(--paper)",
    BEFORE: "var(--before)",
    AFTER: "var(--after)",
    REWARD: "var(--reward)",
    KL: "var(--kl)",
    ALERT: "var(--alert)",
    PEOPLE: "var(--people)",
}
_POINTS_PER_INCH = 72


def draw(name: str, description: str, size: tuple[float, float], paint: Callable[[Figure], None]) -> Markup:
    """Return the SVG of a figure.

    Args:
        name: unique on the page; letters, digits and hyphens.
        description: what the picture shows, for those who do not see it.
        size: width and height in points; one point is one CSS pixel at full width.
        paint: draws on the empty figure.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with _our_style():
        figure = Figure(figsize=(size[0] / _POINTS_PER_INCH, size[1] / _POINTS_PER_INCH))
        FigureCanvasSVG(figure)
        paint(figure)
        raw = io.StringIO()
        figure.savefig(raw, format="svg", metadata={"Date": None})
    return _inline(raw.getvalue(), name, description)


@contextmanager
def _our_style() -> Iterator[None]:
    from matplotlib import style

    with (
        resources.as_file(resources.files(__package__) / "heed.mplstyle") as path,
        # after_reset: a matplotlibrc of the user's must not change the report's bytes.
        style.context(str(path), after_reset=True),
        warnings.catch_warnings(),
    ):
        # The reader's fonts draw the text; the bundled font is only measured, and may lack a letter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _inline(raw: str, name: str, description: str) -> Markup:
    svg = raw[raw.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # Its style rule for * would reach the whole page; heed.css has the same for charts.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg).strip()
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, variable)
    head = re.search(r'viewBox="([^"]*)"', svg)
    box = head.group(1) if head else ""
    opening = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg" viewBox="{box}"'
    svg = re.sub(r"<svg\b[^>]*>", lambda _: f'{opening} role="img" aria-label="{escape(description)}">', svg, count=1)
    return Markup(svg)  # matplotlib escapes the texts it writes


def alone(picture: Markup) -> str:
    """Return a picture as a file of its own, where no page gives colours and fonts: those of light paper."""
    svg = str(picture)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(variable, colour)
    return svg.replace("<svg ", '<svg font-family="sans-serif" ', 1) + "\n"


def place(figure: Figure, left: float, bottom: float, right: float, top: float) -> Axes:
    """Return axes that leave these margins, in points, to the figure's edges."""
    width, height = figure.get_size_inches() * _POINTS_PER_INCH
    box = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    return figure.add_axes(box)
