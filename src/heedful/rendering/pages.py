"""From a template to one self-contained HTML page: everything escaped, the stylesheet inside, no script, no request.

A page's content security policy forbids scripts and requests, so that even a text that slipped through could do nothing.
"""

from __future__ import annotations

import functools
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from heedful.rendering import wording


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("heedful.rendering", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        excerpt=wording.excerpt,
        estimate=wording.estimate,
        label=wording.label,
        number=wording.number,
        interval=wording.interval,
        percent_estimate=wording.percent_estimate,
        share=wording.share,
        share_interval=wording.share_interval,
        visible=wording.visible,
    )
    return environment


def stylesheet() -> str:
    """Return heed.css, the one stylesheet of all pages."""
    return (resources.files(__package__) / "heed.css").read_text(encoding="utf-8")


def page(template: str, **values: object) -> str:
    """Return the page that a template makes of these values; a value the template asks for and does not get is an error."""
    return _environment().get_template(template).render(stylesheet=Markup(stylesheet()), **values)
