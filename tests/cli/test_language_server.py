"""The language server, as an editor meets it: over stdin and stdout of a real process."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from meshnode import __version__
from tests.cli.editor import Editor, editor
from tests.cli.shell import complaint, meshnode
from zencode.presets import preset

VILLAGE = preset("neighbour_market")
EXAMPLE = "\nExample: x\nGiven 'Anna' draws 2 kWh in period 1\nThen the bill of 'Anna' is 0.50 EUR\n"


@pytest.fixture(scope="module")
def writing() -> Iterator[Editor]:
    """One server for all stories of this file; the last one shuts it down."""
    with editor() as found:
        yield found


def _line(text: str, number: int) -> str:
    return text.split("\n")[number]


def test_the_server_says_what_it_can(writing: Editor) -> None:
    able = writing.abilities
    assert able["hoverProvider"] and able["documentFormattingProvider"]
    assert able["completionProvider"]["triggerCharacters"] == [" ", "'"]


def test_mistakes_are_shown_where_they_are_and_go_when_they_are_mended(writing: Editor) -> None:
    wrong = VILLAGE.replace("0.30 EUR/kWh", "0.3005 EUR/kWh")
    (found,) = writing.open(wrong)
    at = found["range"]
    assert _line(wrong, at["start"]["line"])[at["start"]["character"] : at["end"]["character"]] == "0.3005 EUR/kWh"
    assert found["message"] == "«0.3005 EUR/kWh»: a price has at most 3 decimals"
    assert (found["severity"], found["source"]) == (1, "binding")
    assert writing.change(VILLAGE) == []


def test_lints_are_warnings_on_their_line(writing: Editor) -> None:
    doubtful = VILLAGE.replace("above 0.29 EUR/kWh", "above 0.50 EUR/kWh")
    (found,) = writing.change(doubtful)
    assert found["severity"] == 2 and found["message"].endswith("[cap-above-grid]")
    assert _line(doubtful, found["range"]["start"]["line"]) == "And refuse prices above 0.50 EUR/kWh"


def test_examples_are_carried_out_when_a_text_is_saved(writing: Editor) -> None:
    assert writing.change(VILLAGE + EXAMPLE) == []
    writing.tell("textDocument/didSave", {"textDocument": {"uri": "file:///contract.zen"}})
    (found,) = writing.diagnostics()
    assert found["message"] == "it came to: the bill of 'Anna' is 0.60 EUR"
    assert found["source"] == "binding example"
    assert _line(VILLAGE + EXAMPLE, found["range"]["start"]["line"]) == "Then the bill of 'Anna' is 0.50 EUR"


def test_sentences_names_and_units_are_completed(writing: Editor) -> None:
    text = VILLAGE + "\nWhen a bill is due\nThen let '"
    writing.change(text)
    line = text.count("\n")
    names = writing.at("completion", line, len("Then let '"))
    assert [item["label"] for item in names][:3] == ["'admin'", "'auditor'", "'prosumer'"]
    assert names[0]["textEdit"] == {
        "range": {"start": {"line": line, "character": 9}, "end": {"line": line, "character": 10}},
        "newText": "'admin'",
    }
    sentences = writing.at("completion", line, len("Then "))
    net = next(item for item in sentences if item["detail"] == "net debts")
    assert net["label"] == "net all debts before payment" and "set off" in net["documentation"]
    fee = next(item for item in sentences if item["detail"] == "fee per cycle")
    assert fee["textEdit"]["newText"] == "charge ${1:2.50 EUR} every ${2:1 month}"


def test_a_sentence_says_what_it_means(writing: Editor) -> None:
    writing.change(VILLAGE)
    line = VILLAGE.split("\n").index("Then share production at the mid-market rate")
    found = writing.at("hover", line, 10)
    assert found["contents"]["kind"] == "markdown"
    assert found["contents"]["value"].startswith("**mid-market rate**\n\nEnergy that members have left over")
    assert found["range"]["end"]["character"] == len("Then share production at the mid-market rate")
    assert writing.at("hover", 0, 3) is None, "a comment"


def test_columns_are_those_of_the_editor_also_behind_characters_of_two_units(writing: Editor) -> None:
    """A comment may have any character; the line below it is counted by itself, that line in UTF-16 units."""
    text = f"# \U0001f31e\U0001f31e\n{VILLAGE}\n \U0001f31eWhen"
    found = writing.change(text)
    last = [one for one in found if one["range"]["start"]["line"] == text.count("\n")]
    assert [one["range"]["start"]["character"] for one in last] == [1]
    assert last[0]["range"]["end"]["character"] == len(" \U0001f31eWhen") + 1, "a sun is two units"


def test_a_text_is_spelled_and_a_wrong_one_left_alone(writing: Editor) -> None:
    sloppy = VILLAGE.replace("Given the currency is", "given  THE currency is")
    writing.change(sloppy)
    params = {"textDocument": {"uri": "file:///contract.zen"}, "options": {"tabSize": 4, "insertSpaces": True}}
    (edit,) = writing.ask("textDocument/formatting", params)
    assert edit["newText"] == VILLAGE
    assert edit["range"] == {
        "start": {"line": 0, "character": 0},
        "end": {"line": VILLAGE.count("\n") + 1, "character": 0},
    }
    writing.change(VILLAGE)
    assert writing.ask("textDocument/formatting", params) == []
    writing.change("Nothing")
    assert writing.ask("textDocument/formatting", params) == []


def test_the_server_ends_as_the_protocol_says(writing: Editor) -> None:
    assert writing.close() == 0


def test_without_pygls_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygls", None)
    assert complaint("binding", "lsp") == (
        "the language server needs the package pygls, which nodes do without\n"
        "    install it with: pip install 'meshnode[editor]'"
    )


def test_the_command_says_which_requests_it_answers() -> None:
    told = meshnode("binding", "lsp", "--json").json
    assert told["name"] == "meshnode-binding" and told["version"] == __version__
    assert {"textDocument/completion", "textDocument/hover", "textDocument/formatting"} <= set(told["requests"])
