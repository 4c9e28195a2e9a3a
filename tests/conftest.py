"""What holds for every test: in CI a test that is skipped has failed, unless it needs a real host that is not there."""

from __future__ import annotations

import os

import pytest

from lib_anyms.engine import sdpa
from lib_anyms.job import encoding
from lib_anyms.models.file_index import index
from tests.support.node_packages import Unavailable, packages

NEEDS_HOST = "host:"  # how such a skip's reason starts


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Each test begins as a process does."""
    encoding.kept.clear()
    index.clear()
    sdpa.REFUSED_BY.clear()


def _forbidden_skips(config: pytest.Config) -> list[str]:
    if os.environ.get("CI") != "true":
        return []
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skips = reporter.stats.get("skipped", []) if reporter else []
    told = [(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in skips]
    return [f"{node}: {reason}" for node, reason in told if not reason.startswith(NEEDS_HOST)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and _forbidden_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if forbidden := _forbidden_skips(config):
        terminalreporter.section("skipped, which CI does not allow", red=True)
        for line in forbidden:
            terminalreporter.write_line(line, red=True)


@pytest.fixture(scope="session")
def axe() -> str:
    """The script that looks for what keeps people out, of the small page and of the hosts'."""
    try:
        return (packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    except Unavailable as error:
        pytest.skip(str(error))
