"""Recordings: histories in files.

Three formats, told apart by what stands in them:

- Jepsen's log: lines of `jepsen.util - PROCESS :TYPE :F VALUE`, of one register; other lines are other news.
- EDN: a map in each line, `{:process 0, :type :invoke, :f :append, :key "0", :value "x"}`, of registers or texts.
- JSON, as `save` writes it: histories of our own clusters, with the name of their model.

In the first two, an operation is invoked and later ends as :ok; as :fail, which means that it had
no effect; or as :info, after which nobody knows. Times are line numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from tests.linearizability import ledger, models
from tests.linearizability.checker import Result, Verdict, check
from tests.linearizability.edn import read_edn
from tests.linearizability.history import History, HistoryError, Operation
from tests.linearizability.models import Append, CompareAndSet, Get, Model, Put, Read, Write

MODELS: dict[str, Model] = {model.name: model for model in (models.REGISTER, models.KEY_VALUE, ledger.LEDGER)}
SUFFIXES = (".edn", ".json", ".log", ".txt")

_LOGGED = "jepsen.util - "
_LINE = re.compile(r".*?jepsen\.util - (?P<process>\d+)\s+(?P<type>:[a-z]+)\s+(?P<f>:[a-z]+)\s+(?P<value>\S.*)")
# The nemesis breaks things on purpose; it is no client.
_NEMESIS = re.compile(r".*?jepsen\.util - :nemesis\s")


class Recording(msgspec.Struct, frozen=True):
    """A history and the model that it is to be checked against."""

    model: Model
    history: History


class _LineError(HistoryError):
    """What is wrong with one line of a recording."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Event(msgspec.Struct, frozen=True):
    line: int
    process: int
    type: str
    f: str
    key: str | None
    value: Any


class _SavedOperation(msgspec.Struct, frozen=True, omit_defaults=True):
    client: str
    call: int
    input: Read | Write | CompareAndSet | Get | Put | Append | ledger.Input
    returned: int | None = None
    output: bool | int | str | ledger.Output | None = None


class _Saved(msgspec.Struct, frozen=True):
    model: str
    operations: list[_SavedOperation]


def read(path: Path) -> Recording:
    """The recording in a file. Raises HistoryError, with the line, if there is none, and OSError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HistoryError(f"{path}: {error}; a recording is text in UTF-8") from error
    try:
        if path.suffix == ".json":
            return _from_json(text)
        return _from_events(list(_logged(text) if _LOGGED in text else _maps(text)))
    except _LineError as error:
        raise HistoryError(f"{path}:{error.line}: {error}") from error
    except HistoryError as error:
        raise HistoryError(f"{path}: {error}") from error


def save(path: Path, model: Model, history: History) -> None:
    """Write a history so that `read`, and the command, can read it."""
    operations = [
        _SavedOperation(one.client, one.call, one.input, one.returned, one.output) for one in history.operations
    ]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_Saved(model.name, operations)), indent=1))


def demand_linearizable(history: History, model: Model, kept: Path) -> Result:
    """Fail the calling test, with an explanation, unless a history is linearizable.

    kept: where a history that is not, or whose search was given up, is saved for another look.
    """
    result = check(history, model)
    if result.verdict != Verdict.LINEARIZABLE:
        save(kept, model, history)
        raise AssertionError(f"{result.explained()}\nLook again: python -m tests.linearizability {kept}")
    return result


def _from_json(text: str) -> Recording:
    try:
        saved = msgspec.json.decode(text, type=_Saved)
    except msgspec.DecodeError as error:
        raise HistoryError(str(error)) from error
    if saved.model not in MODELS:
        raise HistoryError(f"no model {saved.model!r}; known are {', '.join(MODELS)}")
    operations = [Operation(one.client, one.call, one.returned, one.input, one.output) for one in saved.operations]
    return Recording(MODELS[saved.model], History(tuple(operations)))


def _logged(text: str) -> Iterator[_Event]:
    """The events of Jepsen's log."""
    for number, line in enumerate(text.splitlines(), 1):
        if _LOGGED not in line or _NEMESIS.match(line):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise _LineError(number, f"{line!r}; expected PROCESS :TYPE :F VALUE")
        yield _Event(number, int(found["process"]), found["type"], found["f"], None, _value(number, found["value"]))


def _maps(text: str) -> Iterator[_Event]:
    """The events of a file of EDN maps."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        event = _value(number, line)
        if not isinstance(event, dict) or not {":process", ":type", ":f", ":value"} <= event.keys():
            raise _LineError(number, f"{line!r}; expected a map with :process, :type, :f and :value")
        process = event[":process"]
        if process == ":nemesis":
            continue
        if not isinstance(process, int):
            raise _LineError(number, f"the process {process!r}; expected a number, or :nemesis")
        key = event.get(":key")
        key = key if key is None else str(key)
        yield _Event(number, process, event[":type"], event[":f"], key, event[":value"])


def _value(number: int, text: str) -> Any:
    try:
        return read_edn(text)
    except ValueError as error:
        raise _LineError(number, str(error)) from error


def _from_events(events: list[_Event]) -> Recording:
    """Pair invocations with what became of them."""
    if not events:
        raise HistoryError(f"no operation there; expected a Jepsen log, EDN maps or, in a {SUFFIXES[1]}, JSON")
    invoked: dict[int, _Event] = {}
    operations: list[Operation] = []
    for event in events:
        if event.type == ":invoke":
            if event.process in invoked:
                line = invoked[event.process].line
                raise _LineError(event.line, f"process {event.process} is still busy with line {line}")
            invoked[event.process] = event
            continue
        started = invoked.pop(event.process, None)
        if started is None or (started.f, started.key) != (event.f, event.key):
            raise _LineError(event.line, f"process {event.process} ends a {event.f} that it did not invoke")
        operations += _ended(started, event)
    operations += [_operation(started, None, None) for started in invoked.values()]
    named = {type(one.input) for one in operations}
    model = models.KEY_VALUE if named & {Get, Put, Append} else models.REGISTER
    return Recording(model, History(tuple(operations)))


def _ended(started: _Event, event: _Event) -> list[Operation]:
    """The operation that an event ends; none if it certainly had no effect and tells nothing."""
    match event.type, event.f:
        case ":info", _:
            return [_operation(started, None, None)]
        case ":ok", ":read" | ":get":
            return [_operation(started, event.line, event.value)]
        case ":ok", ":cas":
            return [_operation(started, event.line, True)]
        case ":ok", _:
            return [_operation(started, event.line, None)]
        case ":fail", ":cas" if event.value == started.value:
            # The register answered that it holds something else; any other failure gives its reason here.
            return [_operation(started, event.line, False)]
        case ":fail", _:
            return []
        case _:
            raise _LineError(event.line, f"{event.type}; expected :invoke, :ok, :fail or :info")


def _operation(started: _Event, returned: int | None, output: Any) -> Operation:
    return Operation(str(started.process), started.line, returned, _input(started), output)


def _input(started: _Event) -> Any:
    key, value = started.key, started.value
    match started.f, value:
        case ":read", _:
            return Read(key)
        case ":write", int() | str() | None:
            return Write(value, key)
        case ":cas", (int() | str() | None as old, int() | str() | None as new):
            return CompareAndSet(old, new, key)
        case ":get", _ if key is not None:
            return Get(key)
        case ":put", str() if key is not None:
            return Put(key, value)
        case ":append", str() if key is not None:
            return Append(key, value)
        case _:
            raise _LineError(
                started.line,
                f"{started.f} of {value!r} under key {key!r}; expected :read, :write VALUE, "
                ":cas [OLD NEW], or with a :key also :get, :put TEXT, :append TEXT",
            )
