"""Instructions: Markdown to HTML that can do nothing.

They may come from a file that somebody else wrote, so they are hostile: raw HTML is text, the result goes through an
allow-list, there are no images, and behind a link stands where it leads.
"""

from __future__ import annotations

import functools
from urllib.parse import urlsplit

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from heedful.rendering.wording import visible

LONGEST = 100_000
"""Characters; what is longer is shown as plain text."""

_TAGS = {"p", "h1", "h2", "h3", "h4", "ul", "ol", "li", "strong", "em", "code", "pre", "blockquote", "a", "br", "hr"}
_LOWER = {"h1": "h3", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6"}


@functools.lru_cache(maxsize=64)
def instructions_html(text: str) -> Markup:
    """Return instructions as safe HTML; their headings are two levels lower, because the page has its own."""
    text = visible(text)
    if len(text) > LONGEST:
        return Markup("<pre>{}</pre>").format(text)
    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20}).disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        token.tag = _LOWER.get(token.tag, token.tag)
        if token.children:
            token.children = _with_hosts(token.children)
    html = parser.renderer.render(tokens, parser.options, {})
    return Markup(_clean(html))


def _clean(html: str) -> str:
    return nh3.clean(
        html,
        tags=_TAGS | set(_LOWER.values()),
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )


def _with_hosts(tokens: list[Token]) -> list[Token]:
    """Write behind each link the host that it leads to."""
    shown, host = [], ""
    for token in tokens:
        shown.append(token)
        if token.type == "link_open":
            host = _host(str(token.attrGet("href") or ""))
        elif token.type == "link_close" and host:
            shown.append(Token("text", "", 0, content=f" ({host})"))
    return shown


def _host(address: str) -> str:
    try:
        return visible(urlsplit(address).hostname or "")
    except ValueError:
        return ""
