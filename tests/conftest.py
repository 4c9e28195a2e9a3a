"""For every test: a new runtime, and in CI a skipped test is a failed one, unless it needs a real host."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from lib_anyms.runtime import runtime
from tests.support.node_packages import Unavailable, packages

IN_CI = os.environ.get("CI") == "true"
# A loaded machine must not fail a test, so examples have no deadline. CI draws the same examples in every run.
settings.register_profile("anyms", deadline=None, suppress_health_check=list(HealthCheck), derandomize=IN_CI)
settings.load_profile("anyms")

NEEDS_HOST = "host:"  # the reason of an allowed skip starts with this


@pytest.fixture(autouse=True)
def _new_runtime() -> None:
    """Each test starts with the state of a new process."""
    runtime.reset()


def _forbidden_skips(config: pytest.Config) -> list[str]:
    if not IN_CI:
        return []
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skips = reporter.stats.get("skipped", []) if reporter else []
    forbidden = []
    for report in skips:
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(NEEDS_HOST):
            forbidden.append(f"{report.nodeid}: {reason}")
    return forbidden


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
    """The accessibility checker, as a script for a page."""
    try:
        return (packages() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    except Unavailable as error:
        pytest.skip(str(error))
