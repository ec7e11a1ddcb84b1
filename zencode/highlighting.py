"""Highlighting: the syntax file for editors, made from the keywords, units and known names of every language.

`python -m zencode.highlighting` writes it; a test fails while it is stale. It is a
TextMate grammar, which VS Code, Sublime Text, JetBrains, bat and others read. Colours
only: what is right and wrong the language server says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zencode.examples import KEYWORDS
from zencode.kinds import KINDS
from zencode.languages import LANGUAGES, Phase
from zencode.words import KNOWN_WORDS

PATH = Path(__file__).parent.joinpath("syntax", "zen.tmLanguage.json")

#: Keywords that open a part of a text, and those inside one; editors colour them apart.
_OPENING = (Phase.RULE, Phase.SCENARIO, Phase.GIVEN, Phase.WHEN)


def grammar() -> dict[str, Any]:
    """The TextMate grammar of bindings."""
    opening = [word for phase in _OPENING for word in _keywords(phase)]
    inside = [word for phase in Phase if phase not in _OPENING for word in _keywords(phase)]
    names = {
        spelling.replace("'", "''")
        for words in KNOWN_WORDS.values()
        for word in words
        for spelling in word.words.values()
    }
    return {
        "comment": "Made by python -m zencode.highlighting; change that, not this.",
        "name": "Binding",
        "scopeName": "source.zen",
        "fileTypes": ["zen"],
        "patterns": [
            _rule("comment.line.number-sign.zen", r"^\s*#.*$"),
            {
                "match": rf"(?i)^\s*({_either(KEYWORDS.values())})\s*(:)\s*(.*)$",
                "captures": {
                    "1": {"name": "keyword.control.example.zen"},
                    "2": {"name": "punctuation.separator.zen"},
                    "3": {"name": "markup.heading.zen"},
                },
            },
            _rule("keyword.control.zen", rf"(?i)^\s*({_either(opening)})(?=\s|$)"),
            _rule("keyword.control.flow.zen", rf"(?i)^\s*({_either(inside)})(?=\s|\.|$)"),
            _rule("support.constant.name.zen", rf"(?i)'({_either(names)})'(?!\w)"),
            _rule("string.quoted.single.zen", r"'(?:[^']|'')*'(?!\w)"),
            _rule("invalid.illegal.unclosed.zen", r"(?<!\w)'[^']*$"),
            _rule("constant.numeric.time.zen", r"\b[0-9]{1,2}:[0-9]{2}\b"),
            {
                "match": rf"(?i)(?<![\w])(-?[0-9]+(?:[.,][0-9]+)*)(?:\s*(%)|\s+({_either(_units())})(?!\w))?",
                "captures": {
                    "1": {"name": "constant.numeric.zen"},
                    "2": {"name": "keyword.other.unit.zen"},
                    "3": {"name": "keyword.other.unit.zen"},
                },
            },
        ],
    }


def _rule(name: str, match: str) -> dict[str, str]:
    return {"name": name, "match": match}


def _keywords(phase: Phase) -> list[str]:
    return [spelling for language in LANGUAGES.values() for spelling in language.keywords[phase]]


def _units() -> list[str]:
    """All units as patterns; a currency is any code of three to eight letters in capitals."""
    symbols = {unit.symbol for kind in KINDS for unit in kind.units if not unit.spoken}
    plain = [symbol for symbol in symbols if symbol.isalpha() and symbol != "CURRENCY"]
    spoken = [word for language in LANGUAGES.values() for words in language.units.values() for word in words]
    return [*plain, *spoken, "(?-i:[A-Z]{3,8})(?:/kWh)?"]


def _either(words: Iterable[str]) -> str:
    """A pattern of alternatives, the longest first, so that none hides a longer one."""
    unique = sorted(set(words), key=lambda word: (-len(word), word))
    return "|".join(word if "(" in word else re.escape(word).replace(r"\ ", r"\s+") for word in unique)


def text() -> str:
    """The syntax file."""
    return json.dumps(grammar(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
