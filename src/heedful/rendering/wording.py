"""Numbers and texts as people read them.

Few digits, the same digits for a value and its interval, a real minus sign. Text of a model is hostile: what cannot be seen
(control characters, marks that turn the reading direction) is made visible. Escaping for HTML is the template's work.
"""

from __future__ import annotations

import math
import re

from heedful.rendering.content import Estimate

MINUS = "\N{MINUS SIGN}"
_MOST_DECIMALS = 4
_LONGEST_TEXT = 2400
"""Characters of a model's text that a page shows; the rest is counted."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_INVISIBLE = re.compile(r"[\x80-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_DELETE = "\x7f"
_CONTROL_PICTURES = 0x2400
_DELETE_PICTURE = "\N{SYMBOL FOR DELETE}"
_MEMORY_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def decimals(*values: float | None) -> int:
    """Return how many decimals show these numbers together: none from 100, one from 10, two from 0.1, then two digits."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    if largest >= 10:
        return 0 if largest >= 100 else 1
    if largest >= 0.1 or largest == 0:
        return 2
    return min(_MOST_DECIMALS, 1 - math.floor(math.log10(largest)))


def number(value: float | None, places: int | None = None) -> str:
    """Return a number as text; a dash where there is none."""
    if value is None or math.isnan(value):
        return "\N{EN DASH}"
    if math.isinf(value):
        return ("" if value > 0 else MINUS) + "\N{INFINITY}"
    if value == int(value) and places is None and abs(value) < 1e15:
        places = 0
    text = f"{value:,.{decimals(value) if places is None else places}f}"
    return _without_negative_zero(text).replace("-", MINUS)


def _without_negative_zero(text: str) -> str:
    return text[1:] if text.startswith("-") and not any(digit in text for digit in "123456789") else text


def percent(value: float, places: int = 0) -> str:
    """Return a share as text: 0.871 is "87 %"."""
    return f"{number(100 * value, places)} %"


def span(low: float, high: float, places: int) -> str:
    """Return "low to high"."""
    return f"{number(low, places)} to {number(high, places)}"


def estimate(value: Estimate | None, places: int | None = None) -> str:
    """Return a number with its 95 % interval in brackets, all with the same digits: "0.31 (0.29 to 0.33)"."""
    if value is None:
        return number(None)
    if value.low is None or value.high is None:
        return number(value.value, places)
    places = decimals(value.value, value.low, value.high) if places is None else places
    return f"{number(value.value, places)} ({span(value.low, value.high, places)})"


def percent_estimate(value: Estimate | None) -> str:
    """Return a share with its 95 % interval in percent: "78 % (74 to 82)"."""
    if value is None:
        return number(None)
    if value.low is None or value.high is None:
        return percent(value.value)
    return f"{percent(value.value)} ({span(100 * value.low, 100 * value.high, 0)})"


def share(value: Estimate) -> str:
    """Return a share in percent without its interval."""
    return percent(value.value)


def interval(value: Estimate, scale: float = 1.0, places: int | None = None) -> str:
    """Return the interval as the beginning of a note, "5.9 to 6.3; ", or nothing where there is none."""
    if value.low is None or value.high is None:
        return ""
    low, high = scale * value.low, scale * value.high
    return f"{span(low, high, decimals(scale * value.value, low, high) if places is None else places)}; "


def share_interval(value: Estimate) -> str:
    """Return the interval of a share in percent as the beginning of a note: "74 to 82 %; "."""
    return interval(value, 100, 0).replace("; ", " %; ")


def label(name: str) -> str:
    """Return an outcome's or metric's name as words: "distinct_2" is "distinct 2"."""
    return visible(name).replace("_", " ")


def sentence(text: str) -> str:
    """Return the text with a capital first letter and the rest as it is."""
    return text[:1].upper() + text[1:]


def listing(names: list[str]) -> str:
    """Return names as a list in a sentence: "a, b and c"."""
    return " and ".join([part for part in (", ".join(names[:-1]), *names[-1:]) if part])


def memory(num_bytes: float | None) -> str:
    """Return bytes in a binary unit: 1610612736 is "1.5 GiB"."""
    if num_bytes is None:
        return number(None)
    for size, unit in _MEMORY_UNITS:
        if num_bytes >= size:
            return f"{num_bytes / size:.{0 if num_bytes >= 100 * size else 1}f} {unit}"
    return f"{num_bytes:.0f} B"


def duration(seconds: float) -> str:
    """Return seconds as people say them: 8.2 s, 4 min 12 s, 3 h 5 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def visible(text: str) -> str:
    """Return the text with control characters as pictures and invisible or direction-changing marks as [U+....]."""
    text = text.replace("\r\n", "\n")
    text = _CONTROLS.sub(lambda found: _picture(found.group()), text)
    return _INVISIBLE.sub(lambda found: f"[U+{ord(found.group()):04X}]", text)


def _picture(control: str) -> str:
    return _DELETE_PICTURE if control == _DELETE else chr(_CONTROL_PICTURES + ord(control))


def excerpt(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Return the visible text, cut where it is too long to read, with the number of characters left out."""
    if not text.strip():
        return "(empty)"
    shown = visible(text[:longest])
    left_out = len(text) - longest
    return shown if left_out <= 0 else f"{shown} \N{HORIZONTAL ELLIPSIS} ({left_out:,} more characters)"
