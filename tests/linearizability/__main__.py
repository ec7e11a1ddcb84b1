"""The command: a verdict for each recorded history, held against what is known."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from tests.linearizability.checker import MAX_SECONDS, MAX_STATES, Bounds, Progress, Verdict, check
from tests.linearizability.history import HistoryError
from tests.linearizability.recordings import SUFFIXES, read
from tests.linearizability.verdicts import LIST, known_verdict

# A search that takes longer than this says how far it is, and again after as long.
SECONDS_PER_NEWS = 2.0


class Line(msgspec.Struct, frozen=True):
    """What is said of one recording.

    known: whether it is known to be linearizable; None if nobody said.
    good: the verdict is the known one, or "linearizable" where none is known.
    why: for a verdict that is not "linearizable", what the search found.
    """

    path: str
    model: str
    operations: int
    pending: int
    verdict: Verdict
    known: bool | None
    good: bool
    states: int
    seconds: float
    why: str


class Report(msgspec.Struct, frozen=True):
    """All recordings, and how many of them are good, and agree with a known verdict."""

    histories: int
    good: int
    with_known_verdict: int
    agree: int
    states: int
    seconds: float
    lines: tuple[Line, ...]


def judge(path: Path, bounds: Bounds, news: Callable[[Progress], None] | None = None) -> Line:
    """Check one recording. Raises HistoryError if there is none."""
    recording = read(path)
    began = time.monotonic()
    try:
        result = check(recording.history, recording.model, bounds, news)
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from error
    seconds = time.monotonic() - began
    known = known_verdict(path)
    expected = Verdict.NOT_LINEARIZABLE if known is False else Verdict.LINEARIZABLE
    return Line(
        path=str(path),
        model=recording.model.name,
        operations=len(recording.history.operations),
        pending=recording.history.pending,
        verdict=result.verdict,
        known=known,
        good=result.verdict == expected,
        states=result.states,
        seconds=round(seconds, 6),
        why="" if result.verdict == Verdict.LINEARIZABLE else result.explained(),
    )


def report(lines: Iterable[Line]) -> Report:
    """Count what was found."""
    lines = tuple(lines)
    known = [line for line in lines if line.known is not None]
    return Report(
        histories=len(lines),
        good=sum(line.good for line in lines),
        with_known_verdict=len(known),
        agree=sum(line.good for line in known),
        states=sum(line.states for line in lines),
        seconds=round(sum(line.seconds for line in lines), 4),
        lines=lines,
    )


def recordings(paths: Iterable[Path]) -> list[Path]:
    """Files as they are named, and the recordings below folders. Raises HistoryError where there is none."""
    found: list[Path] = []
    for path in paths:
        below = (one for one in path.rglob("*") if one.suffix in SUFFIXES and one.name != LIST and one.is_file())
        here = sorted(below) if path.is_dir() else [path]
        if not here or not here[0].is_file():
            raise HistoryError(f"{path}: no recording there; expected a file, or a folder of {', '.join(SUFFIXES)}")
        found += here
    return found


class _News:
    """Says on standard error how far a long search is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._due = time.monotonic() + SECONDS_PER_NEWS

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + SECONDS_PER_NEWS
        part = f", {progress.part}" if progress.part else ""
        explained = f"{progress.explained} of {progress.answered} answers explained"
        print(f"{self._path}{part}: {progress.states:,} states searched, {explained}", file=sys.stderr, flush=True)


def _shown(line: Line, *, explain: bool) -> str:
    standing = {None: "no known verdict", True: "known linearizable", False: "known not linearizable"}[line.known]
    if line.known is not None:
        standing += ", agrees" if line.good else ", DISAGREES"
    told = (
        f"{line.verdict:16} {line.path}  {line.operations} operations, {line.pending} pending, "
        f"{line.states:,} states, {line.seconds * 1000:.1f} ms; {standing}"
    )
    return f"{told}\n{line.why}" if line.why and (explain or not line.good) else told


def _summary(report: Report) -> str:
    counts = ", ".join(f"{sum(line.verdict == verdict for line in report.lines)} {verdict}" for verdict in Verdict)
    return (
        f"{report.histories} histories: {counts}; {report.agree}/{report.with_known_verdict} agree with the known "
        f"verdict; {report.states:,} states, {report.seconds:.2f} s"
    )


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.linearizability",
        description="Say of recorded histories whether they are linearizable.",
        epilog="Exit code 0: every history is as known, or linearizable where nothing is known. 1: one is not, or its "
        "search was given up, which is never taken for a good one. 2: a recording cannot be read.",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--explain", action="store_true", help="say also of expected verdicts where no order fits")
    parser.add_argument(
        "--max-states", type=_positive, default=MAX_STATES, metavar="N", help=f"give one history up ({MAX_STATES:,})"
    )
    parser.add_argument(
        "--max-seconds", type=_positive, default=MAX_SECONDS, metavar="S", help=f"likewise ({MAX_SECONDS:.0f})"
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a recording, or a folder of recordings")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code that its help describes."""
    options = _arguments(arguments)
    bounds = Bounds(options.max_states, options.max_seconds)
    lines = []
    try:
        for path in recordings(options.paths):
            lines.append(judge(path, bounds, _News(path)))
            if not options.json:
                print(_shown(lines[-1], explain=options.explain), flush=True)
    except (HistoryError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    found = report(lines)
    print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() if options.json else _summary(found))
    return 0 if found.good == found.histories else 1


if __name__ == "__main__":
    sys.exit(main())
