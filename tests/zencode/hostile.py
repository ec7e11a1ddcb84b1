"""Hostile: texts of any size that would cost a careless reader much - one function for each idea.

    HOSTILE["open quotes"](32 * 1024)      # at most so many bytes

They are read or refused by `tests/zencode/test_limits.py`, which counts what the
reader does, and timed by `python -m tests.benchmarks.binding`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

HEAD: Final = "Rule language 'en'\nRule binding version 1\nScenario 'market': Palm Bay\n"
EVENT: Final = "When a bill is due\n"


def _lines(line: str, above: str = "") -> Callable[[int], str]:
    """The line again and again."""

    def text(size: int) -> str:
        room = size - len((HEAD + above).encode())
        return HEAD + above + (line + "\n") * (room // len((line + "\n").encode()))

    return text


def _line(part: str) -> Callable[[int], str]:
    """One line of the part again and again."""
    return lambda size: HEAD + part * ((size - len(HEAD)) // len(part.encode()))


def _numbered(line: str, above: str = "") -> Callable[[int], str]:
    """The line again and again, each with another number."""

    def text(size: int) -> str:
        found = [HEAD + above]
        left = size - len(found[0])
        for number in range(size):
            left -= len(found[-1]) if number else 0
            found.append(line.format(number) + "\n")
            if left < len(found[-1]):
                return "".join(found[:-1])
        return "".join(found)

    return text


HOSTILE: Final[dict[str, Callable[[int], str]]] = {
    "one line of letters": _line("x"),
    "one line of quotation marks": _line("'"),
    "one line of digits": _line("9"),
    "one line of accents": _line("e\u0301\u0323"),
    "unknown sentences": _lines("Given " + "the settlement period of grid energy costs is " * 4),
    "almost a sentence": _lines("And the setlement perod"),
    "almost a sentence, each another": _numbered("Given the battery '{}' stores 4 kWh at 2 kW and belonged to 'a'"),
    "almost a keyword": _lines("Gven the settlement period is 15 minutes"),
    "in another language": _lines("Dato che il periodo di regolazione è 15 minuti"),
    "wrong units": _lines("Given grid energy costs 0.30 kWh"),
    "wrong words": _lines("Then split the 'netwerk fee' 80 % to 'a'", EVENT),
    "open quotes": _lines("Given '" + "''" * 90),
    "quotes and letters": _lines("Given " + "'a" * 90),
    "one name after another": _lines("Given " + "'a' " * 48),
    "numbers": _lines("Given grid energy costs " + "1." * 80),
    "digits": _lines("Given grid energy costs " + "9" * 160 + " EUR/kWh"),
    "apostrophes in words": _lines("Given a" + "'a" * 90),
    "lines of accents": _lines("# " + "\u0301\u0323" * 95),
    "shares": _lines("Then split the 'network fee' " + "1 % to 'a', " * 14, EVENT),
    "facts": _numbered("Given there is a role '{}'"),
    "the same fact": _lines("Given there is a role 'x'"),
    "empty lines": _lines(""),
    "comments": _lines("#"),
    "blanks": _lines(" " * 200),
    "keywords": _lines("And"),
    "control characters": _lines("\x01"),
    "events": _lines("When a bill is due"),
    "conditions": _lines("If the time is in band 'a'", EVENT),
    "blocks": _lines("When somebody asks to join as 'x'\nThen accept the member"),
    "blocks that differ": _numbered("When somebody asks to join as 'r{}'\nThen accept the member"),
    "actions": _lines("And let 'x' see 'all trades'", "When a bill is due\nThen net all debts before payment\n"),
    "actions that differ": _numbered("And warn 'r{}'", "When a member leaves\nThen warn 'x'\n"),
    "nested conditions": _lines("If the time is in band 'a'\nThen warn 'x'", EVENT),
    "conditions that end": _lines("EndIf", EVENT),
    "scenarios": _lines("Scenario 'x': y"),
    "punctuation": _lines("," * 199),
    "other quotes": _lines("Given " + "«" * 90),
    "examples": _lines("Example: x\nGiven 'a' draws 1 kWh in period 1\nThen 'a' receives 1 EUR"),
    "almost examples": _lines("Given 'a' draw 1 kWh in perod 1", "Example: x\n"),
    "members of examples": _numbered("Then 'm{}' receives 1 EUR", "Example: x\nGiven 'a' draws 1 kWh in period 1\n"),
    "not utf-8": lambda size: _lines("And")(size - 3) + "\udcff",
}
