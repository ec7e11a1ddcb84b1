"""Recordings in every format come back as the history that they tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.linearizability.edn import read_edn
from tests.linearizability.history import History, HistoryError, Operation
from tests.linearizability.ledger import (
    LEDGER,
    Absent,
    Final,
    ReadBalance,
    ReadCount,
    ReadRecord,
    Refused,
    Value,
    WriteRecord,
)
from tests.linearizability.models import KEY_VALUE, REGISTER, Append, CompareAndSet, Get, Model, Put, Read, Write
from tests.linearizability.recordings import demand_linearizable, read, save
from tests.linearizability.verdicts import known_verdict

LOG = """\
INFO  jepsen.core - Running test
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1   :invoke :write  4
INFO  jepsen.util - :nemesis :info :start nil
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 2\t:invoke\t:cas\t[4 0]
INFO  jepsen.util - 1   :info   :write  :timed-out
INFO  jepsen.util - 2\t:fail\t:cas\t[4 0]
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 2\t:invoke\t:cas\t[4 1]
INFO  jepsen.util - 2\t:fail\t:cas\t:timed-out
INFO  jepsen.util - 2\t:invoke\t:cas\t[4 1]
INFO  jepsen.util - 2\t:ok\t:cas\t[4 1]
INFO  jepsen.util - 11\t:invoke\t:write\t3
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_log_of_jepsen(tmp_path: Path) -> None:
    """What failed for a reason did not happen; a comparison that failed says what the register did not hold."""
    recording = read(written(tmp_path, "etcd.log", LOG))
    assert recording.model is REGISTER
    assert sorted(recording.history.operations, key=lambda one: one.call) == [
        Operation("0", 2, 5, Read(), None),
        Operation("1", 3, None, Write(4)),
        Operation("2", 6, 8, CompareAndSet(4, 0), False),
        Operation("2", 13, 14, CompareAndSet(4, 1), True),
        Operation("11", 15, None, Write(3)),
    ]


def test_maps_of_texts_under_keys(tmp_path: Path) -> None:
    text = (
        '{:process 0, :type :invoke, :f :append, :key "7", :value "x \\"1\\" y"}\n'
        '{:process 1, :type :invoke, :f :get, :key "7", :value nil}\n\n'
        '{:process 1, :type :ok, :f :get, :key "7", :value "x \\"1\\" y"}\n'
        '{:process 0, :type :ok, :f :append, :key "7", :value "x \\"1\\" y"}\n'
        '{:process 0, :type :invoke, :f :put, :key "7", :value "", :time 12, :index 5}\n'
    )
    recording = read(written(tmp_path, "kv.txt", text))
    assert recording.model is KEY_VALUE
    assert recording.history.operations == (
        Operation("1", 2, 4, Get("7"), 'x "1" y'),
        Operation("0", 1, 5, Append("7", 'x "1" y'), None),
        Operation("0", 6, None, Put("7", "")),
    )


def test_maps_of_a_register(tmp_path: Path) -> None:
    text = (
        "{:process :nemesis, :type :info, :f :kill, :value nil}\n"
        "{:process 0, :type :invoke, :f :cas, :value [nil 1]}\n"
        "{:process 0, :type :ok, :f :cas, :value [nil 1]}\n"
        "{:process 1, :type :invoke, :f :read, :value nil, :key 3}\n"
    )
    recording = read(written(tmp_path, "register.edn", text))
    assert recording.model is REGISTER
    assert recording.history.operations == (
        Operation("0", 2, 3, CompareAndSet(None, 1), True),
        Operation("1", 4, None, Read("3")),
    )


SAVED: list[tuple[Model, History]] = [
    (
        LEDGER,
        History(
            (
                Operation("anna", 1, 9, WriteRecord("r", (("anna", -5), ("bela", 5))), Final((3, 0))),
                Operation("anna", 2, None, WriteRecord("s")),
                Operation("bela", 3, 8, WriteRecord("t"), Refused()),
                Operation("bela", 10, 11, ReadRecord("r"), Final((3, 0), 4)),
                Operation("bela", 12, 13, ReadRecord("s"), Absent(4)),
                Operation("bela", 14, 15, ReadBalance("anna"), Value(-5)),
                Operation("bela", 16, 17, ReadCount(), Value(1, 5)),
            )
        ),
    ),
    (
        REGISTER,
        History(
            (
                Operation("0", 0, 1, Write("x"), None),
                Operation("1", 0, 1, Read(), "x"),
                Operation("1", 2, 3, CompareAndSet("x", None), True),
                Operation("1", 4, 5, Read(), None),
            )
        ),
    ),
    (KEY_VALUE, History((Operation("0", 0, 1, Put("a", "x"), None), Operation("0", 2, None, Get("a"))))),
]


@pytest.mark.parametrize(("model", "history"), SAVED, ids=[model.name for model, _ in SAVED])
def test_what_is_saved_is_read_again(tmp_path: Path, model: Model, history: History) -> None:
    save(tmp_path / "history.json", model, history)
    recording = read(tmp_path / "history.json")
    assert recording.model is model
    assert recording.history == history


def test_a_test_that_demands_an_order_keeps_what_has_none(tmp_path: Path) -> None:
    kept = tmp_path / "history.json"
    good = History((Operation("anna", 0, 1, WriteRecord("r"), Final()),))
    assert demand_linearizable(good, LEDGER, kept).states == 2
    assert not kept.exists()
    bad = History((*good.operations, Operation("bela", 2, 3, ReadRecord("r"), Absent())))
    with pytest.raises(AssertionError, match=r"no order explains record r[^~]*python -m tests.linearizability"):
        demand_linearizable(bad, LEDGER, kept)
    assert read(kept).history == bad


WRONG = {
    "empty.txt": ("", ": no operation there; expected a Jepsen log, EDN maps"),
    "prose.txt": ("Once upon a time", ":1: column 4: Once is neither a number, a keyword nor"),
    "list.txt": ("(1 2)", r":1: '\(1 2\)'; expected a map with :process, :type, :f and :value"),
    "who.txt": ("{:process :anna, :type :invoke, :f :read, :value nil}", ":1: the process ':anna'; expected a number"),
    "half.txt": ("{:process 0, :type :invoke", r":1: column 27: '' where a value was expected"),
    "busy.log": (LOG + "jepsen.util - 11 :invoke :read nil", ":16: process 11 is still busy with line 15"),
    "idle.log": (LOG + "jepsen.util - 7 :ok :read 3", ":16: process 7 ends a :read that it did not invoke"),
    "other.log": (LOG + "jepsen.util - 11 :ok :read 3", ":16: process 11 ends a :read that it did not invoke"),
    "cut.log": (LOG + "jepsen.util - 12 :invoke", ":16: 'jepsen.util - 12 :invoke'; expected PROCESS :TYPE :F VALUE"),
    "type.log": (LOG + "jepsen.util - 11 :maybe :write 3", ":16: :maybe; expected :invoke, :ok, :fail or :info"),
    "f.log": ("jepsen.util - 1 :invoke :drink 3", ":1: :drink of 3 under key None; expected :read"),
    "value.log": ("jepsen.util - 1 :invoke :cas 3", ":1: :cas of 3 under key None; expected :read"),
    "key.txt": ("{:process 0 :type :invoke :f :get :value nil}", ":1: :get of None under key None; expected"),
    "saved.json": ("{", ": Input data was truncated"),
    "model.json": ('{"model": "tea", "operations": []}', ": no model 'tea'; known are register, key-value, ledger"),
    "input.json": (
        '{"model": "ledger", "operations": [{"client": "a", "call": 1, "input": {"type": "Drink"}}]}',
        ": Invalid value 'Drink'",
    ),
    "times.json": (
        '{"model": "register", "operations": [{"client": "a", "call": 2, "returned": 1, "input": {"type": "Read"}}]}',
        ": client a: .*a return before the call",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_recording_that_cannot_be_read_is_named_with_the_line(tmp_path: Path, name: str) -> None:
    text, message = WRONG[name]
    with pytest.raises(HistoryError, match=message) as caught:
        read(written(tmp_path, name, text))
    assert str(caught.value).startswith(f"{tmp_path / name}:")


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.log").write_bytes(b"\xff\xfe")
    with pytest.raises(HistoryError, match="a recording is text in UTF-8"):
        read(tmp_path / "noise.log")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        (" -12 ", -12),
        (":ok", ":ok"),
        ('"a\\n\\\\ \\"b\\""', 'a\n\\ "b"'),
        ("[1 [2, nil] true]", (1, (2, None), True)),
        ("(1 {:a 2})", (1, {":a": 2})),
        ("{}", {}),
        ("[]", ()),
    ],
)
def test_values_of_edn(text: str, value: object) -> None:
    assert read_edn(text) == value


@pytest.mark.parametrize(
    "text", ["", "[1", "]", "[1}", "1 2", "1.5", "word", '"open', '"\\x"', "{1}", "{1 2 1 3}", "#{1}"]
)
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="column"):
        read_edn(text)


def test_a_verdict_in_the_name() -> None:
    assert known_verdict(Path("c01-ok.txt")) is True
    assert known_verdict(Path("c01-bad.txt")) is False
    assert known_verdict(Path("history.json")) is None


def test_a_verdict_in_a_list(tmp_path: Path) -> None:
    """In the folder of the recording, or else in the one above; a recording that it does not name has none."""
    (tmp_path / "jepsen").mkdir()
    written(tmp_path, "expected.txt", "000 false\n\n002 true\n")
    assert known_verdict(tmp_path / "jepsen" / "etcd_000.log") is False
    assert known_verdict(tmp_path / "jepsen" / "etcd_002.log") is True
    assert known_verdict(tmp_path / "jepsen" / "etcd_004.log") is None
    written(tmp_path / "jepsen", "expected.txt", "0 true\n")
    assert known_verdict(tmp_path / "jepsen" / "etcd_000.log") is True
    assert known_verdict(tmp_path / "jepsen" / "etcd_002.log") is None


@pytest.mark.parametrize("line", ["000", "x true", "000 perhaps", "7 true\n007 true"])
def test_a_bad_list_is_refused(tmp_path: Path, line: str) -> None:
    written(tmp_path, "expected.txt", f"1 true\n{line}\n")
    with pytest.raises(HistoryError, match=r"expected.txt:[23]: .*; expected a number, once, and true or false"):
        known_verdict(tmp_path / "etcd_001.log")
