"""The runner: compares scripts with what the nodes print, and counts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from tests.raft_scripts.datadriven import Case, ScriptError, read_cases, rewrite
from tests.raft_scripts.host import LEVELS
from tests.raft_scripts.interaction import Interaction
from tests.raft_scripts.tables import MembershipTable, QuorumTable

_LOG_PREFIXES = tuple(f"{level.upper()} " for level in LEVELS)


class Dialect(Protocol):
    """Runs the commands of one script in order."""

    def run(self, case: Case) -> str:
        """Do one command; returns what it printed."""


_DIALECTS: dict[str, type[Dialect]] = {
    "vote": QuorumTable,
    "committed": QuorumTable,
    "simple": MembershipTable,
    "enter-joint": MembershipTable,
    "leave-joint": MembershipTable,
}


class Failure(msgspec.Struct, frozen=True):
    """A command whose output differs."""

    path: str
    line: int
    command: str
    expected: str
    printed: str


class Report(msgspec.Struct):
    """What running some scripts came to. failures holds the first of each script."""

    scripts: int = 0
    scripts_passed: int = 0
    cases: int = 0
    cases_passed: int = 0
    failures: list[Failure] = msgspec.field(default_factory=list)


def run_scripts(paths: Iterable[Path], *, log_lines: bool = True) -> Report:
    """Run scripts, or all *.txt below folders, each from a clean start.

    log_lines: compare the lines that the nodes' loggers print, too.
    Raises ScriptError for a script that cannot be read.
    """
    report = Report()
    for path in _files(paths):
        failures = []
        transcript = _play(path)
        for case, printed in transcript:
            expected = case.expected
            if not log_lines:
                expected, printed = _without_log_lines(expected), _without_log_lines(printed)
            report.cases += 1
            if printed == expected:
                report.cases_passed += 1
            else:
                failures.append(Failure(str(path), case.line, case.command, expected, printed))
        report.scripts += 1
        report.scripts_passed += not failures
        report.failures += failures[:1]
    return report


def rewrite_scripts(paths: Iterable[Path]) -> None:
    """Make what scripts print their expected output: to be read before it is kept."""
    for path in _files(paths):
        rewrite(path, _play(path))


def _play(path: Path) -> list[tuple[Case, str]]:
    """Every case of a script with what it prints."""
    dialect: Dialect | None = None
    played = []
    for case in read_cases(path):
        dialect = dialect or _DIALECTS.get(case.command, Interaction)()
        played.append((case, _run(dialect, case)))
    return played


def _run(dialect: Dialect, case: Case) -> str:
    # A broken core must fail its case, not hide the cases after it.
    try:
        return dialect.run(case)
    except ScriptError as error:
        return f"{error}\n"
    except Exception as error:
        return f"{type(error).__name__}: {error}\n"


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        found = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        if not found or not found[0].is_file():
            raise ScriptError(f"{path}: no script there")
        files += found
    return files


def _without_log_lines(text: str) -> str:
    kept = [line for line in text.splitlines() if not line.lstrip().startswith(_LOG_PREFIXES)]
    # A command that has only logged prints "ok" once the log is left out.
    return "".join(f"{line}\n" for line in kept) or "ok\n"


def _shown(failure: Failure) -> str:
    expected, printed = failure.expected.splitlines(), failure.printed.splitlines()
    at = next(
        (i for i, (a, b) in enumerate(zip(expected, printed, strict=False)) if a != b),
        min(len(expected), len(printed)),
    )
    wanted = expected[at] if at < len(expected) else "(nothing more)"
    found = printed[at] if at < len(printed) else "(nothing more)"
    place = f"{failure.path}:{failure.line}: {failure.command}, line {at + 1} of its output"
    return f"{place}\n    expected {wanted}\n    printed  {found}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code: 0 if everything agrees, 1 if not, 2 if a script cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m tests.raft_scripts", description="Run Raft scripts.")
    parser.add_argument("--without-log-lines", action="store_true", help="do not compare what the nodes log")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--rewrite", action="store_true", help="make what is printed the expected output")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a script, or a folder of scripts")
    options = parser.parse_args(arguments)
    try:
        if options.rewrite:
            rewrite_scripts(options.paths)
        report = run_scripts(options.paths, log_lines=not options.without_log_lines)
    except (ScriptError, OSError, UnicodeDecodeError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        for failure in report.failures:
            print(_shown(failure))
        print(
            f"{report.cases_passed}/{report.cases} cases passed, "
            f"{report.scripts_passed}/{report.scripts} scripts complete"
        )
    return 0 if report.cases_passed == report.cases else 1


if __name__ == "__main__":
    sys.exit(main())
