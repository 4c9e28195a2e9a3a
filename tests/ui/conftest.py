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


class Screen:
    """A page of the browser, kept for many tests: in a new one the browser compiles gradio's scripts again.

    Each test gets it newly opened, with nothing stored. After a failure the next test gets a new page.
    """

    def __init__(self, browser: Any, **options: Any) -> None:
        self._browser, self._options = browser, options
        self._page: Any = None  # while no test has it

    def lend(self, request: pytest.FixtureRequest, served: Served, address: str = "") -> Iterator[Editor]:
        page = self._page or self._browser.new_context(**self._options).new_page()
        self._page, failures = None, request.session.testsfailed
        page.set_viewport_size(self._options["viewport"])
        editor = Editor(page.context, served, page)
        editor.open(address)
        yield editor
        if editor.complaints or editor.scripted or request.session.testsfailed > failures:
            editor.close()
        else:
            editor.leave()
            self._page = page


@pytest.fixture(scope="session")
def desktop(browser: Any) -> Screen:
    return Screen(browser, viewport={"width": 1000, "height": 900})


@pytest.fixture(scope="session")
def handheld(browser: Any) -> Screen:
    size = {"width": 360, "height": 780}
    return Screen(browser, viewport=size, has_touch=True, is_mobile=True, color_scheme="dark")


@pytest.fixture
def editor(request: pytest.FixtureRequest, desktop: Screen, served: Served) -> Iterator[Editor]:
    """The page, newly opened, on a screen with a mouse."""
    yield from desktop.lend(request, served)


@pytest.fixture(scope="session")
def served_whole(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    page = serve(served.gradio, tmp_path_factory.mktemp(f"{served.gradio}-whole") / "page.log")
    yield page
    page.stop()


@pytest.fixture
def both_tabs(request: pytest.FixtureRequest, desktop: Screen, served_whole: Served) -> Iterator[Editor]:
    """The page with txt2img and img2img, newly opened."""
    yield from desktop.lend(request, served_whole)


@pytest.fixture
def phone(request: pytest.FixtureRequest, handheld: Screen, served: Served) -> Iterator[Editor]:
    """The page, newly opened, on a phone with a dark theme."""
    yield from handheld.lend(request, served, "?__theme=dark")
