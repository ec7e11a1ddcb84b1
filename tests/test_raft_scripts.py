"""The Raft core plays transcripts: our own, and the shared ones where they are there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from tests.raft_scripts.__main__ import main, run_scripts

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "tests" / "raft" / "scripts"
SHARED = Path(os.environ.get("MESHNODE_DATA", ROOT / ".." / "shared" / "data")) / "raft"
# How many commands each shared folder holds: fewer would mean that some were passed over.
SHARED_CASES = {"quorum": 127, "confchange": 58, "scripts": 369}

WRONG = """\
log-level error
----
ok

add-nodes 1 voters=(1) index=3
----
ok

raft-state
----
INFO this line is not compared without log lines
1: StateLeader (Voter) Term:0 Lead:0
"""


@pytest.mark.parametrize("path", sorted(OWN.glob("*.txt")), ids=lambda path: path.stem)
def test_our_own_transcripts_are_played_exactly(path: Path) -> None:
    report = run_scripts([path])
    assert report.failures == []
    assert report.cases_passed == report.cases > 0


@pytest.mark.parametrize("log_lines", [True, False], ids=["exactly", "without-log-lines"])
@pytest.mark.parametrize("folder", SHARED_CASES)
def test_the_shared_transcripts_are_played(folder: str, log_lines: bool) -> None:
    if not (SHARED / folder).is_dir():
        pytest.skip(f"no Raft scripts in {SHARED / folder}; set MESHNODE_DATA to the folder of the shared data")
    report = run_scripts([SHARED / folder], log_lines=log_lines)
    assert report.failures == []
    assert report.cases_passed == report.cases == SHARED_CASES[folder]


def test_a_difference_is_found_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "wrong.txt"
    script.write_text(WRONG, encoding="utf-8")
    assert main([str(script)]) == 1
    shown = capsys.readouterr().out
    assert f"{script}:9: raft-state, line 1 of its output" in shown
    assert "expected INFO this line" in shown
    assert "printed  1: StateFollower (Voter) Term:0 Lead:0" in shown
    assert "2/3 cases passed, 0/1 scripts complete" in shown

    assert main(["--json", "--without-log-lines", str(tmp_path)]) == 1
    report = msgspec.json.decode(capsys.readouterr().out)
    assert (report["cases"], report["cases_passed"], report["scripts_passed"]) == (3, 2, 0)
    assert report["failures"][0]["expected"] == "1: StateLeader (Voter) Term:0 Lead:0\n"


def test_rewriting_makes_what_is_printed_the_expectation(tmp_path: Path) -> None:
    script = tmp_path / "wrong.txt"
    script.write_text(WRONG, encoding="utf-8")
    assert main(["--rewrite", str(script)]) == 0
    assert "1: StateFollower (Voter) Term:0 Lead:0\n" in script.read_text(encoding="utf-8")


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "open.txt"
    script.write_text("raft-state\nand no output\n", encoding="utf-8")
    assert main([str(script)]) == 2
    assert "line 1: no ---- after this command" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.txt")]) == 2


def test_unknown_commands_fail_their_case(tmp_path: Path) -> None:
    script = tmp_path / "unknown.txt"
    script.write_text("make-coffee 1\n----\nok\n", encoding="utf-8")
    report = run_scripts([script])
    assert report.cases_passed == 0
    assert report.failures[0].printed == "unknown command make-coffee\n"
