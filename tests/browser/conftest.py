"""A real Chromium for tests of pages. Where there is none they are skipped with one line; under CI they fail."""

import os
import shutil
from importlib.util import find_spec

import pytest

MISSING = "no Chromium: tests of pages did not run; install the system package `chromium` and the extra `test`"


# For a module and not for the whole session: as long as Playwright is open, nothing else in this thread can run an event loop.
@pytest.fixture(scope="module")
def chromium():
    """A running browser."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None or find_spec("playwright") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # A container's root user cannot have Chromium's sandbox.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
