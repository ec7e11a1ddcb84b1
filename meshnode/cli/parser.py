"""Parser: commands as typed functions, and what a person typed as their arguments.

    @group.command()
    def buy(energy: Annotated[str, Option("--energy", "At most this much.")], json: Json = False) -> int | None:
        \"\"\"Bid for energy.\"\"\"

Parameters that many commands share are one NamedTuple: a parameter of such a type stands for all of its fields.

    class Acting(NamedTuple):
        wait: Wait = 10
        json: Json = False

    @group.command()
    def buy(energy: ..., *, how: Acting) -> int | None: ...

The table of a command is its signature; only the command that was typed is looked at, and
nothing is imported beyond the standard library. Libraries that do the same cost a quarter
of a second and tens of megabytes at every start of every node.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

F = TypeVar("F", bound="Callable[..., int | None]")

FINE: Final = 0
MEND: Final = 2
# The width of a terminal that people read comfortably.
HELP_WIDTH: Final = 100


class Option(NamedTuple):
    """A parameter with a name, like --energy; a bool is a flag, a list may be given again. low, high: bounds."""

    flag: str
    help: str
    metavar: str = ""
    low: float | None = None
    high: float | None = None


class Argument(NamedTuple):
    """A parameter without a name; it may be left out if it has a default. low, high: bounds of numbers."""

    metavar: str
    help: str
    low: float | None = None
    high: float | None = None


class Group:
    """Commands under one name; groups contain commands and groups.

    Args:
        default: the command that is meant when the first word is none of the names.
        alone: whether it is also meant when there is no such word at all, or options only.
    """

    def __init__(self, help: str, default: str = "", epilog: str = "", *, alone: bool = False) -> None:
        self.help = help
        self.entries: dict[str, Group | Callable[..., int | None]] = {}
        self._default = default
        self._alone = alone
        self._epilog = epilog

    def command(self, name: str = "") -> Callable[[F], F]:
        """Decorator: add a command; its name is the function's, if none is given."""

        def add(function: F) -> F:
            self.entries[name or function.__name__] = function
            return function

        return add

    def add(self, name: str, group: Group) -> None:
        """Add a group."""
        self.entries[name] = group

    def find(self, args: Sequence[str], path: str) -> tuple[Callable[..., int | None], dict[str, Any]]:
        """The command that was typed, and its arguments.

        Args:
            args: the words after `path`.
        Raises:
            SystemExit: with 0 after help was printed, with 2 after the message that says what is wrong.
        """
        if self._alone and (not args or (args[0].startswith("-") and args[0] not in ("-h", "--help"))):
            args = [self._default, *args]
        if not args or args[0] in ("-h", "--help"):
            print(self._describe(path), file=sys.stdout if args else sys.stderr)
            raise SystemExit(FINE if args else MEND)
        entry, rest = self.entries.get(args[0]), args[1:]
        name = args[0]
        if entry is None and self._default and not name.startswith("-"):
            name, rest, entry = self._default, args, self.entries[self._default]
        if entry is None:
            print(f"error: {path}: no command {name!r}{self._suggest(name)}", file=sys.stderr)
            raise SystemExit(MEND)
        if isinstance(entry, Group):
            return entry.find(rest, f"{path} {name}")
        return entry, _parse(entry, rest, f"{path} {name}")

    def _describe(self, path: str) -> str:
        width = max(len(name) for name in self.entries)
        lines = [f"usage: {path} COMMAND ...", "", self.help, "", "commands:"]
        for name, entry in self.entries.items():
            text = entry.help if isinstance(entry, Group) else (entry.__doc__ or "")
            lines.append(f"  {name:{width}}  {text.partition(chr(10))[0]}")
        if self._default:
            lines += ["", f"{path} ... without a command means: {path} {self._default} ..."]
        return "\n".join([*lines, "", f"More about one: {path} COMMAND --help", *filter(None, [self._epilog])])

    def _suggest(self, name: str) -> str:
        from difflib import get_close_matches

        near = get_close_matches(name, self.entries, 1)
        return f"; did you mean {near[0]!r}?" if near else f"\n    there are {', '.join(self.entries)}"


def _parse(function: Callable[..., int | None], args: Sequence[str], path: str) -> dict[str, Any]:
    def formatter(prog: str) -> argparse.HelpFormatter:
        return argparse.HelpFormatter(prog, max_help_position=32, width=HELP_WIDTH)

    parser = argparse.ArgumentParser(path, description=function.__doc__, allow_abbrev=False, formatter_class=formatter)
    hints = get_type_hints(function, include_extras=True)
    grouped = {name: hint for name, hint in hints.items() if _is_grouped(hint)}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in grouped:
            for one, hint in get_type_hints(grouped[name], include_extras=True).items():
                _declare(parser, one, hint, grouped[name]._field_defaults.get(one, inspect.Parameter.empty))
        else:
            _declare(parser, name, hints[name], parameter.default)
    found = vars(parser.parse_args(list(args)))
    return found | {name: kind(**{one: found.pop(one) for one in kind._fields}) for name, kind in grouped.items()}


def _is_grouped(hint: Any) -> bool:
    """Whether a parameter stands for several; see the module text."""
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_field_defaults")


def _declare(parser: argparse.ArgumentParser, name: str, hint: Any, default: Any) -> None:
    kind, detail = _detail(hint)
    required = default is inspect.Parameter.empty
    _add(parser, name, kind, detail, required, None if required else default)


def _detail(hint: Any) -> tuple[Any, Option | Argument]:
    """The type of a parameter, without its None, and how it is typed in."""
    assert get_origin(hint) is Annotated, f"{hint}: a command's parameter says what it is for"
    kind, detail = get_args(hint)
    if get_origin(kind) in (Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind, detail


def _add(
    parser: argparse.ArgumentParser, name: str, kind: Any, detail: Option | Argument, required: bool, default: Any
) -> None:
    shown: dict[str, Any] = {"help": detail.help.replace("%", "%%"), "default": default}
    if isinstance(detail, Argument):
        shown |= {"metavar": detail.metavar} if required else {"metavar": detail.metavar, "nargs": "?"}
        parser.add_argument(name, type=_reader(kind, detail), **shown)
        return
    if kind is bool:
        parser.add_argument(detail.flag, dest=name, action="store_true", **shown)
        return
    if get_origin(kind) is list:
        shown["action"] = "append"
        kind = get_args(kind)[0]
    if isinstance(default, (int, float, str)) and default:
        shown["help"] += f" (default: {default})"
    metavar = detail.metavar or _METAVARS.get(kind, "|".join(str(one) for one in kind) if _is_enum(kind) else "TEXT")
    parser.add_argument(detail.flag, dest=name, type=_reader(kind, detail), required=required, metavar=metavar, **shown)


def _reader(kind: Any, detail: Option | Argument) -> Callable[[str], Any]:
    """Reads one value, or says what would have been right."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError as error:
            expected = f"one of {', '.join(str(one) for one in kind)}" if _is_enum(kind) else _EXPECTED[kind]
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}") from error
        if detail.low is not None and value < detail.low:
            raise argparse.ArgumentTypeError(f"found {text}, expected {detail.low:g} or more")
        if detail.high is not None and value > detail.high:
            raise argparse.ArgumentTypeError(f"found {text}, expected {detail.high:g} or less")
        return value

    return read


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


_METAVARS: Final = {Path: "PATH", int: "N", float: "SECONDS"}
_EXPECTED: Final = {int: "a whole number", float: "a number", Path: "a path", str: "text"}
