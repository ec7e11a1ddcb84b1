"""Output: how commands answer and how they fail; see the exit codes in `meshnode.cli`."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final, TextIO

from meshnode.cli.parser import FINE, MEND, Option

Json = Annotated[bool, Option("--json", "Answer with JSON, for programs.")]

NO: Final = 1
# Neither yes nor no so far: the community has not agreed on it.
PENDING: Final = 3
STOPPED: Final = 130

# Errors that are answers or a person's mistakes, by name, so that nothing is imported to
# recognise them. Everything else is a bug and shows its traceback.
ERRORS: Final[Mapping[str, int]] = {
    "drivers.driver.DriverError": MEND,
    "meshnode.amounts.AmountError": MEND,
    "meshnode.client.ClientError": MEND,
    "meshnode.config.ConfigError": MEND,
    "meshnode.invitations.InvitationError": MEND,
    "meshnode.keys.KeyFileError": MEND,
    "meshnode.ledger_tools.inspection.NotInLedger": NO,
    "meshnode.ledger_tools.simulation.SimulationError": MEND,
    "meshnode.machine.Lacking": MEND,
    "meshnode.market.mechanism.MechanismError": MEND,
    "meshnode.network.joining.NoDoor": MEND,
    "meshnode.network.libp2p.ListenError": MEND,
    "meshnode.outbox.OutboxError": MEND,
    "meshnode.store.place.StoreError": MEND,
    "meshnode.views.views.ViewsError": MEND,
    "protocols.joining.JoiningError": NO,
    "protocols.receipt.ReceiptError": NO,
    "protocols.records.schema.RecordError": MEND,
    "zencode.binding.BindingTreeError": MEND,
    "zencode.mistakes.BindingErrors": MEND,
    "zencode.packages.PackageError": MEND,
    "zencode.terms.TermsError": MEND,
    "zencode.writer.WriteError": MEND,
}


class Fault(Exception):
    """Something that a person must mend: place, what was found, what was expected, what to do."""


class No(Exception):
    """The answer is no; the text says to what."""


class NotYet(Exception):
    """Neither yes nor no so far; the text says what is not known."""


def guarded(function: Callable[[], int | None]) -> int:
    """Run a command; its errors become messages and exit codes. Returns the exit code."""
    try:
        return function() or FINE
    except BrokenPipeError:
        # Whoever read us (head, a closed pager) has enough; Python must not fail again while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except BaseException as error:
        leaves = _leaves(error)
        if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
            return STOPPED
        known = [judged for judged in map(_judge, leaves) if judged is not None]
        if len(known) != len(leaves):
            if leaves == [error] or len(leaves) > 1:
                raise
            # A bug shows where it is and what it came from, without the nurseries around it.
            context = leaves[0].__context__
            try:
                raise leaves[0]
            finally:
                leaves[0].__context__ = context
        for message in dict.fromkeys(message for _, message in known):
            complain(message)
        return max(code for code, _ in known)


def answer(value: Any, text: str | Callable[[], str], as_json: bool) -> None:
    """Print the answer of a command: JSON, or the text."""
    if as_json:
        print(json.dumps(value, ensure_ascii=False, indent=1))
    else:
        print(text if isinstance(text, str) else text())


def event(value: Mapping[str, Any]) -> None:
    """Print one line of JSON at once, for programs that follow a running command."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def note(text: str) -> None:
    """Say something on stderr that is no part of the answer."""
    print(text, file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Say on stderr what is wrong."""
    note(f"{colour('error', 'red', sys.stderr)}: {text}")


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Columns side by side; numbers in them are the caller's to align."""
    lines = [head, *rows] if head else list(rows)
    if not lines:
        return ""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    spelled = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    if head:
        spelled[0] = colour(spelled[0], "bold", sys.stdout)
    return "\n".join(spelled)


def colour(text: str, style: str, stream: TextIO) -> str:
    """The text in a style ("red", "green", "yellow", "bold"), on terminals whose owner wants colours."""
    if not stream.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


@contextmanager
def progress(what: str, wanted: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal; the function given out takes (done, of how many)."""
    if not wanted or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _judge(error: BaseException) -> tuple[int, str] | None:
    """(exit code, message) of an error that is no bug."""
    if isinstance(error, Fault):
        return MEND, str(error)
    if isinstance(error, No):
        return NO, str(error)
    if isinstance(error, NotYet):
        return PENDING, str(error)
    for kind in type(error).__mro__:
        code = ERRORS.get(f"{kind.__module__}.{kind.__qualname__}")
        if code is not None:
            return code, str(error)
    if isinstance(error, OSError) and error.strerror:
        return _judge_system(error)
    return None


def _judge_system(error: OSError) -> tuple[int, str] | None:
    """What the system refused: a file by its name, or a disk that is full or broken; a bug otherwise."""
    remedy = _REMEDIES.get(error.errno or 0)
    if isinstance(error.filename, str | bytes):
        return MEND, f"{os.fsdecode(error.filename)}: {error.strerror}\n    {remedy or _REMEDY}"
    return (MEND, f"{error.strerror}\n    {remedy}") if remedy else None


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors in a group of groups (a nursery raises one), or the error itself."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


_REMEDY: Final = "check the path, its owner and its permissions"
# Errors of the disk itself: they come from any write, often without a file's name.
_REMEDIES: Final = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room on the disk, or ask for more of it",
    errno.EROFS: "choose a place that can be written",
    errno.EIO: "the disk or card fails; copy what can be read, and replace it",
}
_STYLES: Final = {"bold": "1", "red": "31", "green": "32", "yellow": "33"}
