"""A real browser at a real site: pages that remember every complaint, and that can reach nothing but the site."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.sites import Site, served

DESKTOP = {"width": 1200, "height": 900}
TELEPHONE = {"width": 360, "height": 740}
ROOT = Path(__file__).resolve().parents[2]


class Desk:
    """A site behind a server, and browsers in front of it."""

    def __init__(self, browser: Any, site: Site, address: str) -> None:
        self.browser, self.site, self.address = browser, site, address
        self.complaints: list[str] = []
        self.outside: list[str] = []
        self._contexts: list[Any] = []

    def page(self, user_id: int, viewport: dict[str, int] = DESKTOP, **options: Any) -> Any:
        """Open a page for somebody signed in. What it complains about and asks of others is kept."""
        context = self.browser.new_context(viewport=viewport, **options)
        self._contexts.append(context)
        cookie = {"name": "sid", "value": self.site.session(user_id).session, "url": self.address}
        context.add_cookies([{**cookie, "httpOnly": True, "sameSite": "Lax"}])
        context.route(lambda url: not url.startswith(self.address), self._refuse)
        page = context.new_page()
        self.watch(page)
        return page

    def watch(self, page: Any) -> None:
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", self._dialog)

    def _refuse(self, route: Any) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def _dialog(self, dialog: Any) -> None:
        # "beforeunload" is the page's own question whether to leave something that is not saved.
        if dialog.type != "beforeunload":
            self.complaints.append(f"dialog: {dialog.message}")
        dialog.accept()

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@contextmanager
def desk(browser: Any, folder: Path) -> Iterator[Desk]:
    """Serve a site; afterwards nothing may have complained, and nothing outside may have been asked."""
    site = Site(folder / "labels.sqlite")
    with served(site.app) as address:
        made = Desk(browser, site, address)
        yield made
        made.close()
    site.close()
    assert made.complaints == []
    assert made.outside == []


def axe_script() -> Path:
    """Return axe.min.js of axe-core: $HEED_AXE, or the copy that axe-playwright-python carries."""
    chosen = os.environ.get("HEED_AXE")
    if chosen:
        return Path(chosen)
    package = importlib.util.find_spec("axe_playwright_python")
    assert package is not None and package.submodule_search_locations, "pip install axe-playwright-python"
    return Path(package.submodule_search_locations[0]) / "axe.min.js"


def wait_until(condition: Callable[[], bool], page: Any, seconds: float = 15) -> None:
    """Wait for something that happens on the server."""
    for _ in range(int(seconds * 20)):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not happen")
