"""Chaos, for a minute in every run and for ten every night; and what it stands on, tried alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from meshnode import clock
from meshnode.fate import Fate
from tests.chaos import judge
from tests.chaos.clients import Clients, Told
from tests.chaos.node import OFFSET_FILE, WrongClock
from tests.chaos.plan import LENGTH_S, Fault, plan
from tests.chaos.proxies import Proxies
from tests.data import ROOT
from tests.linearizability.checker import Verdict
from tests.linearizability.history import Recorder
from tests.linearizability.ledger import Absent, Final, ReadRecord, Refused, WriteRecord

ALL = frozenset(Fault)


def make_chaos(deadline_s: float, *options: str) -> dict[str, Any]:
    """Run the command in a process of its own, which may move into namespaces."""
    command = [sys.executable, "-m", "tests.chaos", "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=deadline_s)
    assert done.stdout, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["violations"] == [], "\n".join([*report["violations"], f"seed {report['seed']}", done.stderr])
    assert done.returncode == 0
    assert report["history"]["verdict"] == "linearizable"
    assert len(report["state_hashes"]) == 1
    return report


def test_a_short_chaos() -> None:
    """Three validators and whatever fits into twelve seconds."""
    report = make_chaos(
        180, "--minutes", "0.25", "--nodes", "3", "--learners", "1", "--leader-kills", "1", "--seed", "7"
    )
    assert sum(report["faults"].values()) >= 3
    assert report["answers"]["written: final"] >= 10
    assert report["answers"]["read: final"] >= 10


@pytest.mark.nightly
@pytest.mark.parametrize("options", [(), ("--proxies",)], ids=["namespaces", "proxies"])
def test_ten_minutes_of_chaos(options: tuple[str, ...]) -> None:
    report = make_chaos(3600, "--minutes", "10" if not options else "2", "--leader-kills", "10", *options)
    assert set(report["faults"]) == {str(fault) for fault in Fault}
    assert report["failover"]["median_in_election_timeouts"] <= 2


# --- the plan


def test_one_seed_is_one_plan_and_another_seed_another() -> None:
    assert plan(1, 600, 5, 1, ALL) == plan(1, 600, 5, 1, ALL) != plan(2, 600, 5, 1, ALL)


@pytest.mark.parametrize("seed", range(5))
def test_a_plan_has_every_kind_of_fault_early_and_ends_in_time(seed: int) -> None:
    found = plan(seed, 60, 5, 1, ALL)
    assert {one.fault for one in found[: len(Fault)]} == ALL
    assert all(one.at_s >= 0 and one.at_s + one.length_s <= 60 and one.length_s <= LENGTH_S[1] for one in found)
    for one in found:
        assert one.victim not in one.others and len(one.others) <= 2


def test_faults_that_cannot_be_made_are_not_planned() -> None:
    assert {one.fault for one in plan(3, 120, 3, 0, ALL - {Fault.OLD_DIRECTORY})} == ALL - {Fault.OLD_DIRECTORY}


# --- the judge


def told(record_id: bytes, status: str, verdict: str = "", bad: str = "") -> Told:
    fate = Fate(status=status, record_id=record_id.hex(), verdict=verdict)
    return Told(SimpleNamespace(record_id=record_id), 0, bad, 0, fate)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "verdict", "count", "fine"),
    [
        ("final", "ACCEPTED", 1, True),
        ("final", "ACCEPTED", 0, False),
        ("final", "ACCEPTED", 2, False),
        ("final", "NOT_ENOUGH", 1, True),
        ("refused", "", 0, True),
        ("refused", "", 1, False),
        ("never", "EXPIRED", 0, True),
        ("never", "EXPIRED", 1, False),
    ],
)
def test_what_a_client_was_told_is_held_against_the_ledger(status: str, verdict: str, count: int, fine: bool) -> None:
    one = told(b"\1" * 32, status, verdict)
    books = SimpleNamespace(books={one.record_id: one})
    node = SimpleNamespace(name="anna")
    wrong = judge._held_against(books, node, Counter({one.record_id: count}))  # type: ignore[arg-type]
    assert (wrong == []) == fine
    assert fine or f"{count} times on the ledger instead of" in wrong[0]


def test_a_stale_read_is_found() -> None:
    recorder = Recorder()
    written = recorder.called("writer", WriteRecord("one"))
    recorder.returned(written, Final())
    read = recorder.called("reader", ReadRecord("one"))
    recorder.returned(read, Absent())
    clients = SimpleNamespace(recorder=recorder)
    assert judge.history(clients).verdict == Verdict.NOT_LINEARIZABLE  # type: ignore[arg-type]


def test_a_record_that_nobody_took_may_be_told_never_when_its_time_is_over() -> None:
    clients = Clients.__new__(Clients)
    clients.recorder, clients.violations, clients.counts = Recorder(), [], Counter()
    one = told(b"\1" * 32, "unknown")
    one.call = clients.recorder.called("writer", WriteRecord(one.record_id))
    not_now = Fate(status="refused", record_id=one.record_id, lasting=False)
    clients._note(one, SimpleNamespace(name="anna"), not_now)  # type: ignore[arg-type]
    for answer in (Absent(), Refused()):
        read = clients.recorder.called("reader", ReadRecord(one.record_id))
        clients.recorder.returned(read, answer)
    assert judge.history(clients).verdict == Verdict.LINEARIZABLE


def test_an_honest_record_that_is_refused_and_a_bad_one_that_is_taken_are_violations() -> None:
    grid = SimpleNamespace(nodes=[], genesis=None, now_s=lambda: 0)
    node = SimpleNamespace(name="anna")
    for bad, fate, what in (
        ("", Fate(status="final", record_id="00", verdict="NOT_ENOUGH", receipt=""), "an honest record was refused"),
        ("too much", Fate(status="refused", record_id="00"), ""),
        ("expired", Fate(status="final", record_id="00", verdict="ACCEPTED"), "was accepted"),
    ):
        clients = Clients.__new__(Clients)
        clients.recorder, clients.violations, clients.counts, clients._grid = Recorder(), [], Counter(), grid  # type: ignore[assignment]
        clients._genesis = b""
        one = told(b"\1" * 32, "unknown", bad=bad)
        one.call = clients.recorder.called("writer", WriteRecord(one.record_id))
        clients._note(one, node, fate)  # type: ignore[arg-type]
        assert any(what in text for text in clients.violations) if what else clients.violations == []


# --- what faults are made of


async def test_a_proxy_holds_back_one_direction_and_delivers_it_when_it_is_healed() -> None:
    wires = Proxies(2)
    heard: list[bytes] = []

    async def answer(stream: trio.SocketStream) -> None:
        async for data in stream:
            heard.append(data)
            await stream.send_all(b"heard " + data)

    def port(address: str) -> int:
        return int(address.rpartition("/")[2])

    async def until(condition: Any) -> None:
        with trio.fail_after(10):
            while not condition():
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wires.run)
        serve = partial(trio.serve_tcp, answer, port(wires.listen(1)), host="127.0.0.1")
        await nursery.start(serve)
        with trio.fail_after(10):
            stream = await trio.open_tcp_stream("127.0.0.1", port(wires.route(0, 1)))
            await stream.send_all(b"one")
            assert await stream.receive_some() == b"heard one"
            # 0 is not heard any more, 1 is.
            wires.cut({(0, 1)})
            await stream.send_all(b"two")
        with trio.move_on_after(0.3):
            await stream.receive_some()
        assert heard == [b"one"]
        wires.cut(())
        with trio.fail_after(10):
            assert await stream.receive_some() == b"heard two"
            # The other way round, what was asked arrives and the answer does not.
            wires.cut({(1, 0)})
            await stream.send_all(b"three")
            await until(lambda: heard == [b"one", b"two", b"three"])
        with trio.move_on_after(0.3) as waiting:
            await stream.receive_some()
        assert waiting.cancelled_caught
        nursery.cancel_scope.cancel()


def test_a_clock_is_wrong_by_what_the_file_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = WrongClock(tmp_path)
    now = 1_000.0
    monkeypatch.setattr("tests.chaos.node.time", SimpleNamespace(time=lambda: now, monotonic=lambda: now))
    assert wrong.time() == now
    (tmp_path / OFFSET_FILE).write_text("-120.0")
    now += 1
    assert wrong.time() == now - 120
    assert clock.time.time() - 60 < clock.time.time(), "the product's own clock is what it was"


def test_clients_draw_the_same_records_from_one_seed() -> None:
    def drawn() -> list[tuple[int, str]]:
        clients = Clients.__new__(Clients)
        made: list[tuple[int, str]] = []

        def transfer(sender: int, receiver: int, amount: int, valid_s: int, key: object) -> Any:
            made.append((10 * sender + receiver, f"{amount} {valid_s} {key is None}"))
            return SimpleNamespace(record_id=b"", record=SimpleNamespace(valid_until_s=0))

        nodes = [SimpleNamespace(keys=SimpleNamespace(device=object())) for _ in range(4)]
        clients._grid = SimpleNamespace(nodes=nodes, transfer=transfer)  # type: ignore[assignment]
        clients.recorder = Recorder()
        random = Random("writer 0 1")
        for _ in range(200):
            clients._make("writer 0", random)
        return made

    assert drawn() == drawn()
    assert len({what for _, what in drawn()}) == 4, "honest ones, and three kinds that must be refused"
