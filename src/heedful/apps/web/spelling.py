"""Hostile text as a page shows it: escaped, and what cannot be seen spelled out in badges."""

from __future__ import annotations

from markupsafe import Markup, escape

from heedful.rendering.wording import visible

_LAYOUT = "\n\t"
_BRACKETS = "[]"


def spelled(text: str) -> Markup:
    """Return the text escaped, each control character and each invisible or direction-turning mark as a badge."""
    text = text.replace("\r\n", "\n")
    hidden = {mark: visible(mark) for mark in set(text) if mark not in _LAYOUT and visible(mark) != mark}
    escaped = str(escape(text))
    if hidden:
        # None of these characters stands in escaped markup, so no markup can be broken here.
        badges = {
            ord(mark): f'<span class="badge">{escape(name.strip(_BRACKETS))}</span>' for mark, name in hidden.items()
        }
        escaped = escaped.translate(badges)
    return Markup(escaped)


def plain(text: str) -> str:
    """Return the text for a place that holds no markup (a title, an attribute): hidden characters as pictures and names."""
    return visible(text)
