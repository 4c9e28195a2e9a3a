"""Fixtures: a browser, the small page with each gradio, and the editor on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.programs import find_browser
from tests.ui.editor import QUIET, Editor
from tests.ui.gradios import CHOSEN, Served, Unavailable, serve


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    chromium = find_browser()
    if chromium is None:
        pytest.skip("no Chromium for the page: install chromium, or set ANYMS_CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield chrome
        chrome.close()


@pytest.fixture(scope="session", params=CHOSEN)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    try:
        page = serve(request.param, tmp_path_factory.mktemp(request.param) / "page.log", "--one-tab")
    except Unavailable as error:
        pytest.skip(str(error))
    yield page
    page.stop()


def opened(browser: Any, served: Served) -> Iterator[Editor]:
    page = Editor(browser.new_context(viewport={"width": 1000, "height": 900}), served)
    page.open()
    yield page
    page.close()


@pytest.fixture
def editor(browser: Any, served: Served) -> Iterator[Editor]:
    """The page, newly opened, on a screen with a mouse."""
    yield from opened(browser, served)


@pytest.fixture(scope="session")
def served_whole(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    page = serve(served.gradio, tmp_path_factory.mktemp(f"{served.gradio}-whole") / "page.log")
    yield page
    page.stop()


@pytest.fixture
def both_tabs(browser: Any, served_whole: Served) -> Iterator[Editor]:
    """The page with txt2img and img2img, newly opened."""
    yield from opened(browser, served_whole)


@pytest.fixture
def phone(browser: Any, served: Served) -> Iterator[Editor]:
    """The page, newly opened, on a phone with a dark theme."""
    context = browser.new_context(
        viewport={"width": 360, "height": 780}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    page = Editor(context, served)
    page.open("?__theme=dark")
    yield page
    page.close()
