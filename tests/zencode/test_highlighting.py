"""The syntax file: up to date, readable by editors, and colouring every language's texts as they are read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from zencode import highlighting
from zencode.grammar import keyword_of, tokens_of
from zencode.languages import LANGUAGES, Phase
from zencode.presets import NAMES, preset

FOLDER = highlighting.PATH.parent


def test_the_syntax_file_is_up_to_date() -> None:
    assert highlighting.PATH.read_text(encoding="utf-8") == highlighting.text(), (
        "zen.tmLanguage.json is stale; run python -m zencode.highlighting"
    )


def test_the_folder_is_an_extension_of_vs_code() -> None:
    package = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    (language,), (grammar,) = package["contributes"]["languages"], package["contributes"]["grammars"]
    assert (FOLDER / grammar["path"]) == highlighting.PATH
    assert grammar["language"] == language["id"]
    assert grammar["scopeName"] == highlighting.grammar()["scopeName"]
    assert json.loads((FOLDER / language["configuration"]).read_text(encoding="utf-8"))["comments"]


def _coloured(line: str) -> list[tuple[str, str]]:
    """(scope, text) of a line, as TextMate does it: the earliest match, of several the first rule's."""
    rules: list[dict[str, Any]] = highlighting.grammar()["patterns"]
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(line):
        matches = [
            (match.start(), number, match)
            for number, rule in enumerate(rules)
            if (match := re.compile(rule["match"]).search(line, at)) is not None and match.end() > at
        ]
        if not matches:
            break
        _, number, match = min(matches, key=lambda entry: entry[:2])
        rule = rules[number]
        if "name" in rule:
            found.append((rule["name"], match.group().strip()))
        found += [
            (capture["name"], match[int(group)])
            for group, capture in rule.get("captures", {}).items()
            if match[int(group)]
        ]
        at = match.end()
    return found


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@pytest.mark.parametrize("name", NAMES)
def test_keywords_names_and_numbers_are_coloured_as_they_are_read(name: str, code: str) -> None:
    for line in preset(name, code).split("\n"):
        scopes = _coloured(line)
        if line.startswith("#"):
            assert scopes == [("comment.line.number-sign.zen", line)]
            continue
        tokens = tokens_of(line)
        if not tokens:
            assert scopes == []
            continue
        phase, used = keyword_of(tokens, LANGUAGES[code])
        scope, text = scopes[0]
        assert scope.startswith("keyword.control") and text.split() == [token.spelled for token in tokens[:used]]
        if phase == Phase.SCENARIO:
            continue
        names = [text for scope, text in scopes if scope.startswith(("string", "support"))]
        assert names == [token.spelled for token in tokens if token.sort == "name"]
        numbers = [text for scope, text in scopes if scope == "constant.numeric.zen"]
        assert numbers == [token.spelled for token in tokens if token.sort == "number"]


def test_units_and_known_names_have_colours_of_their_own() -> None:
    assert _coloured("And charge a fee of 0.01 EUR/kWh on 'traded energy'") == [
        ("keyword.control.flow.zen", "And"),
        ("constant.numeric.zen", "0.01"),
        ("keyword.other.unit.zen", "EUR/kWh"),
        ("support.constant.name.zen", "'traded energy'"),
    ]
    assert _coloured("E dividi 'x' 80 % a 'l''amico'")[1:] == [
        ("string.quoted.single.zen", "'x'"),
        ("constant.numeric.zen", "80"),
        ("keyword.other.unit.zen", "%"),
        ("string.quoted.single.zen", "'l''amico'"),
    ]
    assert ("keyword.other.unit.zen", "minuti") in _coloured("Quando un contatore tace per 30 minuti")
    assert _coloured("Then warn 'admin")[-1] == ("invalid.illegal.unclosed.zen", "'admin")


def test_examples_have_a_heading() -> None:
    assert _coloured("Esempio: una giornata di sole") == [
        ("keyword.control.example.zen", "Esempio"),
        ("punctuation.separator.zen", ":"),
        ("markup.heading.zen", "una giornata di sole"),
    ]
