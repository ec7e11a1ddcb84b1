"""Binding commands: the pages that an assembly reads, and what they answer to programs."""

from __future__ import annotations

from pathlib import Path

import zencode.presets
from tests.cli.shell import meshnode
from zencode.presets import preset

VILLAGE = Path(zencode.presets.__file__).with_name("mid_market_village.zen")


def test_a_page_for_the_assembly_in_the_language_of_the_village() -> None:
    done = meshnode("binding", "explain", VILLAGE, "--language", "it")
    assert done.code == 0
    assert "\n## Chi può entrare, e chi esce\n" in done.out
    told = meshnode("binding", "explain", VILLAGE, "--json").json
    assert told["hash"] == meshnode("binding", "hash", VILLAGE).out.strip()
    assert [part["subject"] for part in told["parts"]][:2] == ["community", "joining"]
    assert told["questions"] == []
    first = told["parts"][0]["passages"][0]
    assert first["event"] is None and set(first["sentences"][0]) == {"id", "name", "line", "text", "meaning"}


def test_a_page_needs_a_binding_and_a_language(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.zen"
    wrong.write_text("Rule language 'en'\nRule binding version 2\n")
    done = meshnode("binding", "explain", wrong)
    assert done.code == 2 and f"{wrong}: line 2, column 22: «2»: only 1 is known here" in done.err
    assert meshnode("binding", "explain", VILLAGE, "--language", "tlh").code == 2


def test_what_changes_between_two_files_in_two_languages(tmp_path: Path) -> None:
    new = tmp_path / "nuovo.zen"
    new.write_text(preset("mid_market_village", "it").replace("0,30 EUR/kWh", "0,35 EUR/kWh"))
    done = meshnode("binding", "diff", VILLAGE, new, "--language", "en")
    assert done.out == "«grid energy costs 0.30 EUR/kWh» becomes «grid energy costs 0.35 EUR/kWh»\n"
    told = meshnode("binding", "diff", VILLAGE, new, "--json").json
    assert told["language"] == "it" and told["old_hash"] != told["new_hash"]
    (change,) = told["changes"]
    assert change == {
        "kind": "changed",
        "name": "grid price",
        "before": "l'energia di rete costa 0,30 EUR/kWh",
        "after": "l'energia di rete costa 0,35 EUR/kWh",
        "under": [],
        "above": "",
    }


def test_a_mistake_is_told_with_the_file_that_it_is_in(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.zen"
    wrong.write_text("Nothing\n")
    for files in ((VILLAGE, wrong), (wrong, VILLAGE)):
        done = meshnode("binding", "diff", *files)
        assert done.code == 2 and f"{wrong}: line 1" in done.err


EXAMPLE = """
Example: a sunny quarter of an hour
Given 'Anna' draws 2 kWh in period 1
And 'Bela' delivers 3 kWh in period 1
Then 'Anna' gets 2 kWh from neighbours
"""


def test_examples_in_a_text_are_carried_out_by_check(tmp_path: Path) -> None:
    file = tmp_path / "a.zen"
    file.write_text(VILLAGE.read_text() + EXAMPLE)
    done = meshnode("binding", "check", file)
    assert done.code == 0
    assert f"{file}: 1 example carried out, with the results that they say" in done.out.split("\n")
    assert meshnode("binding", "check", file, "--json").json["examples"] == [
        {"title": "a sunny quarter of an hour", "line": 40, "ok": True, "unmet": []}
    ]


def test_an_example_that_comes_to_something_else_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.zen"
    file.write_text(VILLAGE.read_text() + EXAMPLE.replace("gets 2 kWh", "gets 1 kWh"))
    done = meshnode("binding", "check", file)
    assert done.code == 2
    assert done.out == (
        f"{file}:43: error: example «a sunny quarter of an hour» says «'Anna' gets 1 kWh from neighbours»\n"
        "    it came to: 'Anna' gets 2 kWh from neighbours\n"
    )
    told = meshnode("binding", "check", file, "--json").json
    assert not told["ok"] and told["findings"] == []
    assert told["examples"][0]["unmet"] == [
        {
            "line": 43,
            "expected": "'Anna' gets 1 kWh from neighbours",
            "found": "'Anna' gets 2 kWh from neighbours",
        }
    ]


def test_examples_of_a_binding_that_nobody_can_carry_out_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.zen"
    text = VILLAGE.read_text().replace(
        "share production at the mid-market rate", "share production by fixed allocation"
    )
    file.write_text(text + EXAMPLE)
    told = meshnode("binding", "check", file, "--json").json
    assert not told["ok"] and told["findings"] and told["examples"] == []
