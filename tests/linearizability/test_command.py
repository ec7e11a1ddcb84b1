"""The command on recordings: every known verdict, and what it says where one is missing or wrong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.data import data_files, data_path
from tests.linearizability import __main__ as command
from tests.linearizability.__main__ import Report, main
from tests.linearizability.checker import Verdict, check
from tests.linearizability.history import History
from tests.linearizability.models import REGISTER, CompareAndSet, Get, Read
from tests.linearizability.recordings import Recording, read
from tests.linearizability.verdicts import known_verdict

RECORDED = [*data_files("linearizability", "jepsen/*.log"), *data_files("linearizability", "kv/*.txt")]
# Histories in the shared data: fewer would mean that some were passed over.
RECORDED_COUNT = 56

GOOD = "jepsen.util - 0 :invoke :write 1\njepsen.util - 0 :ok :write 1\n"
STALE = GOOD + "jepsen.util - 1 :invoke :read nil\njepsen.util - 1 :ok :read nil\n"


@pytest.mark.parametrize("path", RECORDED)
def test_every_known_verdict_is_found(path: Path) -> None:
    known = known_verdict(path)
    assert known is not None
    recording = read(path)
    result = check(recording.history, recording.model)
    assert result.verdict == (Verdict.LINEARIZABLE if known else Verdict.NOT_LINEARIZABLE), result.explained()


@pytest.mark.parametrize("path", RECORDED)
def test_verdicts_do_not_rest_on_failed_comparisons(path: Path) -> None:
    """A comparison that failed may also be read as one that was never made: the recordings do not need it."""
    recording = read(path)
    others = (one for one in recording.history.operations if one.output is not False)
    verdict = check(History(tuple(others)), recording.model).verdict
    assert (verdict == Verdict.LINEARIZABLE) == known_verdict(path)


def right_recordings() -> list[Recording]:
    paths = sorted(data_path("linearizability").glob("*/*.*"))
    right = [read(path) for path in paths if known_verdict(path)]
    assert len(right) == 13
    return right


def test_a_wrong_answer_turns_the_verdict() -> None:
    """Each answered read of each right recording in turn reads what nobody wrote."""
    for recording in right_recordings():
        operations = recording.history.operations
        turned = 0
        for index, one in enumerate(operations):
            if one.pending or not isinstance(one.input, Read | Get):
                continue
            wrong = msgspec.structs.replace(one, output="what nobody wrote")
            changed = History((*operations[:index], wrong, *operations[index + 1 :]))
            assert check(changed, recording.model).verdict == Verdict.NOT_LINEARIZABLE
            turned += 1
        assert turned >= 15


def test_swapped_answers_turn_the_verdict() -> None:
    """One client alone: every operation has one right answer, so any two different ones of a key may be swapped."""
    recording = read(data_path("linearizability", "kv", "c01-ok.txt"))
    operations = recording.history.operations
    reads = [index for index, one in enumerate(operations) if isinstance(one.input, Get)]
    turned = 0
    for first in reads:
        for second in reads:
            one, other = operations[first], operations[second]
            if first < second and one.input == other.input and one.output != other.output:
                swapped = list(operations)
                swapped[first] = msgspec.structs.replace(one, output=other.output)
                swapped[second] = msgspec.structs.replace(other, output=one.output)
                assert check(History(tuple(swapped)), recording.model).verdict == Verdict.NOT_LINEARIZABLE
                turned += 1
    assert turned >= 10


def test_comparisons_that_change_their_mind_turn_some_verdict() -> None:
    """Not every history can tell, but each right one has a comparison whose answer cannot be the other."""
    for recording in right_recordings():
        if recording.model is not REGISTER:
            continue
        operations = recording.history.operations
        verdicts = set()
        for index, one in enumerate(operations):
            if isinstance(one.input, CompareAndSet) and not one.pending:
                other = msgspec.structs.replace(one, output=not one.output)
                changed = History((*operations[:index], other, *operations[index + 1 :]))
                verdicts.add(check(changed, recording.model).verdict)
        assert Verdict.NOT_LINEARIZABLE in verdicts


def test_the_whole_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(data_path("linearizability"))]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert len(lines) == RECORDED_COUNT
    assert all(line.endswith(", agrees") for line in lines)
    assert summary.startswith(
        f"{RECORDED_COUNT} histories: 13 linearizable, 43 not linearizable, 0 unknown; "
        f"{RECORDED_COUNT}/{RECORDED_COUNT} agree with the known verdict; "
    )


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.log").write_text(text, encoding="utf-8")
    return folder


def test_a_report_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", str(written(tmp_path, a_ok=GOOD, b=GOOD, c_bad=STALE))]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert (report.histories, report.good, report.with_known_verdict, report.agree) == (3, 3, 2, 2)
    assert [(line.verdict.value, line.known, line.good) for line in report.lines] == [
        ("linearizable", True, True),
        ("linearizable", None, True),
        ("not linearizable", False, True),
    ]
    assert (report.lines[2].model, report.lines[2].operations, report.lines[2].pending) == ("register", 2, 0)
    assert "the register holds 1" in report.lines[2].why
    assert report.states == sum(line.states for line in report.lines) > 0


def test_a_history_without_an_order_fails_unless_that_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(written(tmp_path, stale=STALE))]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(f"not linearizable {tmp_path}/stale.log  2 operations, 0 pending, ")
    assert "; no known verdict\nnot linearizable: 2 states searched; no order explains the answers." in shown
    assert "    client 1: Read(key=None) called at 3, returned at 4\n" in shown


def test_a_verdict_that_differs_from_the_known_one_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(written(tmp_path, stale_ok=STALE))]) == 1
    shown = capsys.readouterr().out
    assert "; known linearizable, DISAGREES\nnot linearizable: 2 states searched" in shown
    assert "0/1 agree with the known verdict" in shown
    assert main([str(written(tmp_path, good_bad=GOOD))]) == 1
    assert "known not linearizable, DISAGREES\n" in capsys.readouterr().out


def test_an_explanation_of_what_was_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path, stale_bad=STALE)
    assert main([str(folder)]) == 0
    assert "none leads on" not in capsys.readouterr().out
    assert main(["--explain", str(folder)]) == 0
    assert "none leads on" in capsys.readouterr().out


def crowd(writers: int) -> str:
    invoked = "".join(f"jepsen.util - {n} :invoke :write {n}\n" for n in range(writers))
    return f"{invoked}jepsen.util - 99 :invoke :read nil\njepsen.util - 99 :ok :read -1\n" + "".join(
        f"jepsen.util - {n} :ok :write {n}\n" for n in range(writers)
    )


@pytest.mark.parametrize("name", ["crowd", "crowd_ok", "crowd_bad"])
def test_a_search_that_was_given_up_is_unknown_and_never_good(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["--max-states", "500", str(written(tmp_path, **{name: crowd(14)}))]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("unknown          ")
    assert "unknown: 500 states searched" in shown
    assert "1 histories: 0 linearizable, 0 not linearizable, 1 unknown; 0/" in shown


def test_a_long_search_says_how_far_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SECONDS_PER_NEWS", 0.0)
    assert main(["--max-states", "1500", str(written(tmp_path, crowd=crowd(14)))]) == 1
    news = capsys.readouterr().err.splitlines()
    assert len(news) >= 1
    assert all(line.startswith(f"{tmp_path}/crowd.log: ") for line in news)
    assert news[0].endswith(" states searched, 14 of 15 answers explained")


def test_what_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path}: no recording there; expected a file, or a folder of .edn")
    assert main([str(tmp_path / "missing.log")]) == 2
    assert "missing.log: no recording there" in capsys.readouterr().err
    assert main([str(written(tmp_path, broken="jepsen.util - 1 :ok :read 3\n"))]) == 2
    assert f"{tmp_path}/broken.log:1: process 1 ends a :read" in capsys.readouterr().err


@pytest.mark.parametrize("bound", ["0", "-1", "many", "1.5"])
def test_bounds_are_whole_numbers(capsys: pytest.CaptureFixture[str], bound: str) -> None:
    with pytest.raises(SystemExit):
        main([f"--max-states={bound}", "x"])
    assert f"'{bound}' is not a whole number above 0" in capsys.readouterr().err
