"""Rules of a test run: what skips is counted, and in CI nothing may skip.

Tests marked `nightly` are deselected, not skipped; `make nightly` runs them.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

from tests.data import data_path

# A shell starts what it runs in the background with SIGINT ignored, and every process started
# from here would inherit that: the stories about Ctrl-C need a signal that arrives.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hypothesis likes to draw numbers and words that stand in our modules, those that happen to be imported: a test would
# have other examples alone than beside others, and in each of several processes.
providers.is_local_module_file = lambda _path: False  # type: ignore[attr-defined]
# The same examples in every run: a failure in CI is a failure here. Deadlines measure the machine.
settings.register_profile("default", derandomize=True, deadline=None)
# Every night new examples, and many. (A profile has what it does not say from the one before it.)
settings.register_profile("nightly", derandomize=False, max_examples=2000, deadline=None, print_blob=True)
settings.load_profile("default")


@pytest.fixture
def data() -> Callable[..., Path]:
    """`data("telegrams", "sml")` is a path in the shared data; without the data, the test skips."""
    return data_path


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI, turn a run that passed but skipped something into one that failed."""
    if exitstatus == pytest.ExitCode.OK and skips_are_failures() and skip_reasons(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was skipped, once per reason, with counts."""
    reasons = skip_reasons(config)
    if not reasons:
        return
    terminalreporter.section(f"skipped: {reasons.total()}")
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:5} {reason}")
    if skips_are_failures():
        terminalreporter.line("CI is set, where nothing may skip: this run fails.", red=True)


def skips_are_failures() -> bool:
    """Whether this run is one in CI."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def skip_reasons(config: pytest.Config) -> Counter[str]:
    """How often each reason to skip was given, tests and whole modules alike."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    return Counter(report.longrepr[2].removeprefix("Skipped: ") for report in reports)
