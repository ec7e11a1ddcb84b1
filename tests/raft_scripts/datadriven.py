"""Cases: the blocks of a data-driven script, and how one is written.

    # a comment
    command word key=value key=(several, values)
    optional lines of input
    ----
    the expected output, up to a blank line

Output that holds blank lines itself stands between `----` `----` pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

SEPARATOR = "----"
_ARGUMENT = re.compile(r"([^\s=]+)(?:=(\([^)]*\)|\S*))?")


class ScriptError(ValueError):
    """A script that cannot be read, or a command with the wrong arguments."""


class Case(msgspec.Struct, frozen=True):
    """One command of a script.

    words: arguments without a value, in order. options: the others, each with its values.
    line: where the command stands, 1 for the file's first line.
    output: first line of the expected output and the one after its last, counted from 0.
    """

    path: Path
    line: int
    command: str
    words: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    input: str
    expected: str
    output: tuple[int, int]

    def option(self, key: str, default: str = "") -> str:
        """The only value of an option."""
        values = self.options.get(key, (default,))
        if len(values) != 1:
            raise ScriptError(f"{key}: {len(values)} values, expected one")
        return values[0]

    def numbers(self, key: str) -> tuple[int, ...]:
        """All values of an option as numbers."""
        return tuple(int(value) for value in self.options.get(key, ()))

    def flag(self, key: str) -> bool:
        """An option that says true or false; absent means false."""
        value = self.option(key, "false")
        if value not in ("true", "false"):
            raise ScriptError(f"{key}={value}, expected true or false")
        return value == "true"


def read_cases(path: Path) -> Iterator[Case]:
    """All cases of a script, in order. Raises ScriptError naming the line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].startswith("#"):
            at += 1
            continue
        start = at
        directive = lines[at]
        while directive.endswith("\\") and at + 1 < len(lines):
            at += 1
            directive = directive[:-1] + " " + lines[at]
        given, at = _until(lines, at + 1, start)
        begin, at = _output_end(lines, at, start)
        output = (begin, at)
        expected = lines[begin:at]
        if expected[:1] == [SEPARATOR]:
            expected = expected[1:-2]
        command, words, options = parse_directive(directive)
        yield Case(path, start + 1, command, words, options, "\n".join(given), _joined(expected), output)


def rewrite(path: Path, printed: Sequence[tuple[Case, str]]) -> None:
    """Replace the expected output of every case by what was printed."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for case, text in reversed(printed):
        if not text.strip() or "\n\n" in text:
            raise ScriptError(f"{path}:{case.line}: output with blank lines cannot be written")
        lines[slice(*case.output)] = text.splitlines()
    path.write_text(_joined(lines), encoding="utf-8")


def parse_directive(line: str) -> tuple[str, tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Split a command line into command, words and options."""
    command, *rest = line.split(None, 1)
    words: list[str] = []
    options: dict[str, tuple[str, ...]] = {}
    for key, value in _ARGUMENT.findall(rest[0] if rest else ""):
        if value.startswith("("):
            options[key] = tuple(part.strip() for part in value[1:-1].split(",") if part.strip())
        elif value:
            options[key] = (value,)
        else:
            words.append(key)
    return command, tuple(words), options


def _until(lines: list[str], at: int, start: int) -> tuple[list[str], int]:
    for end in range(at, len(lines)):
        if lines[end] == SEPARATOR:
            return lines[at:end], end + 1
    raise ScriptError(f"line {start + 1}: no {SEPARATOR} after this command")


def _output_end(lines: list[str], at: int, start: int) -> tuple[int, int]:
    """First line of the output that begins at `at`, and the line after its last."""
    if lines[at : at + 1] == [SEPARATOR]:
        for end in range(at + 1, len(lines) - 1):
            if lines[end] == lines[end + 1] == SEPARATOR:
                return at, end + 2
        raise ScriptError(f"line {start + 1}: output between {SEPARATOR} pairs does not end")
    end = at
    while end < len(lines) and lines[end].strip():
        end += 1
    return at, end


def _joined(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
