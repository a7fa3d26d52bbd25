"""Pages in the system's own Chromium without a window, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_MS = 120_000  # a busy machine starts a browser slowly
# A page under test asks for no network, so whatever the browser would fetch by itself is off.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@dataclass(frozen=True)
class Visit:
    """An open page.

    Attributes:
        page: Playwright's page.
        requests: Every address that was asked for, the page's own first.
        complaints: What the page's scripts and the browser logged, uncaught errors included.
    """

    page: Page
    requests: list[str]
    complaints: list[str]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser; skips the test without one, or fails if FORECAST_REQUIRE_CHROMIUM.

    Playwright keeps an event loop running in this thread until the end, so no other test may run
    meanwhile: a fixture of this has the scope of a module at most.
    """
    path = os.environ.get("FORECAST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _give_up(f"no Chromium: install one of {', '.join(NAMES)} or name it in FORECAST_CHROMIUM")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _give_up("Playwright is not installed (extra 'dev')")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(
    browser: Browser, url: str, width: int, *, height: int = 900, dark: bool = False
) -> Iterator[Visit]:
    """Loads a page in a window of that size, a phone's if it is narrow.

    Args:
        browser: See `chromium`.
        url: Address of the page.
        width: Width of the window in CSS pixels.
        height: Height of the window in CSS pixels.
        dark: Whether the visitor prefers a dark page.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=width < 500,
        color_scheme="dark" if dark else "light",
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        opened = Visit(context.new_page(), [], [])
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(url)
        yield opened
    finally:
        context.close()


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("FORECAST_REQUIRE_CHROMIUM"):
        pytest.fail(reason)
    pytest.skip(reason)
