"""From a template to a page of the site: everything escaped, in the reader's language, nothing inline."""

from __future__ import annotations

import functools
import hashlib
from datetime import datetime
from importlib import resources
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from heedful.apps.web import languages
from heedful.apps.web.markdown import instructions_html
from heedful.apps.web.spelling import plain, spelled
from heedful.rendering.pages import stylesheet

if TYPE_CHECKING:
    import gettext

    from heedful.numerics.statistics import Estimate

KEYS = ("on", "quiet", "off")
"""Keyboard presets: letters and digits with hints, the same without hints, only Tab and Enter."""
KEYS_COOKIE = "heed-keys"


@functools.cache
def assets() -> dict[str, tuple[bytes, str]]:
    """Return what the site serves as files: name to bytes and media type. Nothing else is ever served from a disk."""
    own = resources.files(__package__) / "static"
    site = (own / "site.css").read_text(encoding="utf-8")
    return {
        "heed.css": (f"{stylesheet()}\n{site}".encode(), "text/css"),
        **{
            name: ((own / name).read_bytes(), kind)
            for name, kind in (
                ("heed-label.js", "text/javascript"),
                ("heed-order.js", "text/javascript"),
                ("heed-drag.js", "text/javascript"),
                ("icon.svg", "image/svg+xml"),
            )
        },
    }


@functools.cache
def version() -> str:
    """Return a name for the present assets, so that browsers may keep them for good."""
    together = b"".join(content for content, _ in assets().values())
    return hashlib.sha256(together).hexdigest()[:12]


def language_of(request: Request) -> str:
    """Return the language in which this reader gets pages."""
    return languages.chosen_language(request.cookies.get(languages.COOKIE), request.headers.get("accept-language", ""))


def words(request: Request) -> gettext.NullTranslations:
    """Return the catalog of this reader's language."""
    return languages.translations(language_of(request))


def keys_of(request: Request) -> str:
    """Return the reader's keyboard preset."""
    stored = request.cookies.get(KEYS_COOKIE, "")
    return stored if stored in KEYS else KEYS[0]


def page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """Return a page; a value the template asks for and does not get is an error."""
    language = language_of(request)
    account = getattr(request.state, "account", None)
    html = (
        _environment(language)
        .get_template(template)
        .render(
            language=language,
            languages=languages.LANGUAGES,
            keys=keys_of(request),
            account=account,
            version=version(),
            **values,
        )
    )
    return HTMLResponse(html, status)


@functools.cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(languages.translations(language), newstyle=True)  # type: ignore[attr-defined]
    environment.filters.update(
        spelled=spelled,
        plain=plain,
        instructions=instructions_html,
        minutes=_minutes,
        day=_day,
        percent=percent,
        interval=_interval,
    )
    return environment


def percent(share: float | None) -> str:
    """Return a share in per cent; a dash where there is none."""
    return "\N{EN DASH}" if share is None else f"{share:.0%}".replace("%", "\N{NO-BREAK SPACE}%")


def _interval(found: Estimate | None) -> str:
    """Return a share with its 95 % interval: 72 % (70-74); a dash where there is none."""
    if found is None:
        return "\N{EN DASH}"
    return f"{percent(found.value)} ({100 * found.low:.0f}\N{EN DASH}{100 * found.high:.0f})"


def _minutes(milliseconds: float | None) -> str:
    return f"{(milliseconds or 0) / 60_000:,.0f}"


def _day(moment: datetime | None) -> str:
    return "\N{EN DASH}" if moment is None else f"{moment:%Y-%m-%d %H:%M}"
