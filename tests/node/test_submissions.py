"""Submissions: an own record is on disk before anybody hears of it, and whoever waits for it is told."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from meshnode import submissions
from meshnode.ledger.rows import Nonce
from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import RecordDone
from meshnode.mempool import Refusal
from meshnode.news import News
from meshnode.submissions import OUTCOMES_KEPT, Submissions, sentence
from meshnode.web.backend import Refused, Update
from protocols.block import SignedRecord
from protocols.records import account_id_of
from tests.network.neighbours import machine_of, real_village
from tests.protocols.keys import key_pair
from tests.protocols.village import START_S

VILLAGE = real_village(2)
FULL = Refusal(None, "the mempool is full; try again later", blame=False, lasting=False)
TAKEN = Refusal(Verdict.NONCE_TAKEN, "NONCE_TAKEN", blame=False, lasting=True)


def order(number: int = 1) -> SignedRecord:
    return VILLAGE.order("anna", nonce=number)


def reading(period: int) -> SignedRecord:
    return VILLAGE.reading("anna", period_start_s=START_S + period * 900)


def done(signed: SignedRecord, verdict: Verdict = Verdict.ACCEPTED) -> RecordDone:
    return RecordDone(signed.record_id, 0, verdict, account_id_of(key_pair("anna").public), signed.record)


class Disk:
    """Outbox, store and views at once; `diary` is what happened, in order, the publisher's part too."""

    def __init__(self) -> None:
        self.diary: list[tuple[str, str]] = []
        self.waiting: list[SignedRecord] = []
        self.blocks: dict[bytes, int] = {}
        self.verdicts: dict[bytes, int] = {}
        self.certified: set[int] = set()
        self.room = 100

    # --- outbox

    def add(self, signed: SignedRecord) -> tuple[bytes, ...]:
        self.diary.append(("kept", name(signed.record_id)))
        if signed not in self.waiting:
            self.waiting.append(signed)
        gone = self.waiting[: max(0, len(self.waiting) - self.room)]
        del self.waiting[: len(gone)]
        return tuple(one.record_id for one in gone)

    def pending(self) -> list[SignedRecord]:
        return list(self.waiting)

    def final(self, record_ids: list[bytes]) -> None:
        for record_id in record_ids:
            self.diary.append(("forgotten", name(record_id)))
        self.waiting = [one for one in self.waiting if one.record_id not in record_ids]

    # --- store and views

    def find_record(self, record_id: bytes) -> tuple[int, int] | None:
        height = self.blocks.get(record_id)
        return None if height is None else (height, 0)

    def verdict(self, record_id: bytes) -> int | None:
        return self.verdicts.get(record_id)

    def certificate_from(self, height: int) -> tuple[int, bytes] | None:
        return (height, b"certificate") if height in self.certified else None


class Air:
    """The publisher: what it says to each record, and when it was heard."""

    def __init__(self, disk: Disk) -> None:
        self.answers: dict[bytes, Refusal] = {}
        self._disk = disk

    async def submit(self, signed: SignedRecord, *, promised: bool = False) -> Refusal | None:
        await trio.lowlevel.checkpoint()
        self._disk.diary.append(("promised" if promised else "heard", name(signed.record_id)))
        return self.answers.get(signed.record_id)


NAMES = {order(number).record_id: f"order {number}" for number in range(1, 5)} | {
    reading(period).record_id: f"reading {period}" for period in range(4)
}


def name(record_id: bytes) -> str:
    return NAMES[record_id]


async def prove(record_id: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return b"receipt of " + record_id


class Desk:
    """Submissions with everything around them."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.air = Air(self.disk)
        self.news = News()
        self.page = self.news.subscribe()
        self.submissions = Submissions(self.disk, self.disk, self.disk, self.news, machine_of(VILLAGE), prove)  # type: ignore[arg-type]

    def told(self) -> list[Update]:
        found = []
        while self.page.statistics().current_buffer_used:
            found.append(self.page.receive_nowait())
        return found


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    async def inline(function: Callable[..., object], *arguments: object) -> object:
        """A thread's work, at once: a virtual clock would jump while a real thread works."""
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", inline)
    return Desk()


async def test_a_record_is_on_disk_before_anybody_hears_of_it(desk: Desk) -> None:
    await desk.submissions.hand_in(order(), desk.air)
    assert desk.disk.diary == [("kept", "order 1"), ("heard", "order 1")]
    assert desk.disk.waiting == [order()], "and stays there until it is final"


async def test_a_disk_that_fails_keeps_it_to_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_signed: SignedRecord) -> tuple[bytes, ...]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(desk.disk, "add", full)
    with pytest.raises(OSError, match="No space left"):
        await desk.submissions.hand_in(order(), desk.air)
    assert desk.disk.diary == []


@pytest.mark.parametrize(
    ("refusal", "said"),
    [(FULL, "the mempool is full; try again later"), (TAKEN, SENTENCES[Verdict.NONCE_TAKEN])],
    ids=["for now", "for good"],
)
async def test_a_refused_record_is_told_and_forgotten(desk: Desk, refusal: Refusal, said: str) -> None:
    desk.air.answers[order().record_id] = refusal
    with pytest.raises(Refused) as refused:
        await desk.submissions.hand_in(order(), desk.air)
    assert str(refused.value) == said == sentence(refusal)
    assert desk.disk.waiting == []
    assert desk.disk.diary[-1] == ("forgotten", "order 1")
    desk.submissions.final(9, START_S, [done(order())])
    assert not desk.submissions.commit_ms, "its time is not counted"


async def test_a_record_handed_in_twice_at_once_is_refused_twice(desk: Desk) -> None:
    """Anybody may post one envelope over two connections."""
    desk.air.answers[order().record_id] = TAKEN
    said: list[str] = []

    async def hand_in() -> None:
        with pytest.raises(Refused) as refused:
            await desk.submissions.hand_in(order(), desk.air)
        said.append(str(refused.value))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand_in)
        nursery.start_soon(hand_in)
    assert said == [SENTENCES[Verdict.NONCE_TAKEN]] * 2


async def test_a_record_that_is_final_before_it_was_passed_on_leaves_nothing_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was posted to a neighbour, too, whose block came while ours was being written down."""
    keep = desk.disk.add

    def slow(signed: SignedRecord) -> tuple[bytes, ...]:
        desk.submissions.final(7, START_S, [done(signed)])
        return keep(signed)

    monkeypatch.setattr(desk.disk, "add", slow)
    await desk.submissions.hand_in(order(), desk.air)
    assert not desk.submissions._began and desk.disk.waiting == []


async def test_what_is_final_already_is_not_handed_in_again(desk: Desk) -> None:
    """A client that asks again after an answer was lost."""
    desk.submissions.final(7, START_S, [done(order())])
    await desk.submissions.hand_in(order(), desk.air)
    assert desk.disk.diary == []


async def test_an_outbox_that_is_full_says_what_it_lets_go(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.disk.room = 1
    await desk.submissions.keep(reading(1))
    with caplog.at_level(logging.WARNING):
        await desk.submissions.keep(reading(2))
    assert caplog.messages == [f"the outbox is full: record {reading(1).record_id.hex()} is not kept any longer"]


# --- after a start


async def test_after_a_start_what_was_not_final_goes_out_again_in_its_order(desk: Desk) -> None:
    desk.disk.waiting = [reading(1), order(1), reading(2), order(2)]
    # While the node was away the order became final, and the reading's deadline passed.
    desk.disk.blocks[order(1).record_id] = 5
    desk.air.answers[reading(2).record_id] = TAKEN
    desk.air.answers[order(2).record_id] = FULL
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.submissions.run, desk.air)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert desk.disk.diary == [
        ("promised", "reading 1"),
        ("forgotten", "order 1"),
        ("promised", "reading 2"),
        ("promised", "order 2"),
        ("forgotten", "reading 2"),
    ]
    assert desk.disk.waiting == [reading(1), order(2)], "what may be taken later is kept for later"
    assert [update.data["record_id"] for update in desk.told()] == [reading(2).record_id.hex()]


async def test_a_void_record_is_told_to_its_author_and_leaves_the_disk(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.submissions.run, desk.air)
        await desk.submissions.hand_in(order(1), desk.air)
        await desk.submissions.hand_in(order(2), desk.air)
        await wait_all_tasks_blocked()
        with caplog.at_level(logging.WARNING):
            # Two at once, as when a block makes both impossible.
            desk.submissions.void(order(1), TAKEN)
            desk.submissions.void(order(2), FULL)
        await wait_all_tasks_blocked()
        assert desk.disk.waiting == []
        # And again later: the task still listens.
        await desk.submissions.hand_in(order(3), desk.air)
        desk.submissions.void(order(3), TAKEN)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert desk.disk.waiting == []
    why = SENTENCES[Verdict.NONCE_TAKEN]
    assert desk.told()[0] == Update("void", {"record_id": order(1).record_id.hex(), "kind": "Order", "why": why})
    assert caplog.messages[0] == f"Order {order(1).record_id.hex()} is void: {why}"


# --- final, refused, never or unknown


async def status(desk: Desk, signed: SignedRecord, valid_until_s: int | None = None) -> str:
    return (await desk.submissions.outcome(signed.record_id, 0, valid_until_s)).status


async def test_a_final_record_has_its_receipt_and_without_a_certificate_it_is_unknown(
    desk: Desk, autojump_clock: MockClock
) -> None:
    desk.submissions.final(7, START_S, [done(order(), Verdict.NOT_ENOUGH)])
    # Power went before the batch with the certificate was written, and nobody has brought it again so far.
    assert await status(desk, order()) == "unknown"
    assert trio.current_time() == submissions.CERTIFICATE_WAIT_S
    desk.disk.certified = {7}
    outcome = await desk.submissions.outcome(order().record_id, 0)
    assert (outcome.status, outcome.height, outcome.verdict) == ("final", 7, "NOT_ENOUGH")
    assert outcome.receipt == b"receipt of " + order().record_id


async def test_unknown_becomes_never_by_the_ledgers_time_and_by_no_clock(desk: Desk) -> None:
    await desk.submissions.hand_in(order(), desk.air)
    valid_until_s = order().record.valid_until_s  # type: ignore[attr-defined]
    assert await status(desk, order()) == "unknown"
    desk.submissions.final(7, valid_until_s, [])
    assert await status(desk, order()) == "unknown", "a block with this very time may still carry it"
    desk.submissions.final(8, valid_until_s + 1, [])
    assert await status(desk, order()) == "never"
    # A node that has never heard of it says so to whoever knows until when it is valid.
    assert await status(desk, order(2)) == "unknown"
    assert await status(desk, order(2), valid_until_s) == "never"
    assert await status(desk, order(2), valid_until_s + 1) == "unknown"


async def test_a_reading_is_never_final_after_the_time_for_corrections(desk: Desk) -> None:
    await desk.submissions.keep(reading(1))
    rules = desk.submissions._machine.rules(START_S).period
    last_s = START_S + 900 + rules.length_s + rules.correction_s
    desk.submissions.final(7, last_s, [])
    assert await status(desk, reading(1)) == "unknown"
    desk.submissions.final(8, last_s + 1, [])
    assert await status(desk, reading(1)) == "never"


async def test_never_is_not_said_of_a_record_whose_block_is_on_the_disk(desk: Desk) -> None:
    """The views are behind: height and verdict come in a moment."""
    valid_until_s = order().record.valid_until_s  # type: ignore[attr-defined]
    desk.submissions.final(8, valid_until_s + 1, [])
    desk.disk.blocks[order().record_id] = 3
    assert await status(desk, order(), valid_until_s) == "unknown"


@pytest.mark.parametrize("refusal", [TAKEN, FULL], ids=["for good", "for now"])
async def test_only_a_refusal_for_good_is_an_answer_to_who_asks_later(desk: Desk, refusal: Refusal) -> None:
    desk.air.answers[order().record_id] = refusal
    with pytest.raises(Refused) as refused:
        await desk.submissions.hand_in(order(), desk.air)
    assert refused.value.lasting == refusal.lasting
    assert await status(desk, order()) == ("refused" if refusal.lasting else "unknown")


async def test_a_bad_signature_says_nothing_of_the_record_whose_id_it_borrows(desk: Desk) -> None:
    desk.air.answers[order().record_id] = Refusal(Verdict.BAD_SIGNATURE, "BAD_SIGNATURE", blame=True, lasting=True)
    with pytest.raises(Refused):
        await desk.submissions.hand_in(order(), desk.air)
    assert await status(desk, order()) == "unknown"


async def test_who_waits_for_a_record_that_becomes_void_is_told_at_once(desk: Desk, autojump_clock: MockClock) -> None:
    await desk.submissions.hand_in(order(), desk.air)
    told: list[str] = []

    async def wait() -> None:
        told.append((await desk.submissions.outcome(order().record_id, 60)).sentence)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(3)
        desk.submissions.void(order(), TAKEN)
    assert told == [SENTENCES[Verdict.NONCE_TAKEN]] and trio.current_time() == 3.0


async def test_what_is_on_the_ledger_is_not_refused_because_the_views_are_behind(desk: Desk) -> None:
    """The same envelope was sent to two nodes; the other one's block came first."""
    desk.air.answers[order().record_id] = Refusal(Verdict.REPEATED, "REPEATED", blame=False, lasting=True)
    await desk.submissions.hand_in(order(), desk.air)
    assert desk.disk.waiting == [], "and it is not kept"
    assert await status(desk, order()) == "unknown"


async def test_what_was_promised_stays_promised_when_it_is_handed_in_again(desk: Desk) -> None:
    await desk.submissions.hand_in(order(), desk.air)
    # The mempool has let it go meanwhile, and is full.
    desk.air.answers[order().record_id] = FULL
    await desk.submissions.hand_in(order(), desk.air)
    assert desk.disk.waiting == [order()]
    desk.air.answers[order().record_id] = TAKEN
    with pytest.raises(Refused):
        await desk.submissions.hand_in(order(), desk.air)
    assert (desk.disk.waiting, await status(desk, order())) == ([], "refused")


async def test_what_was_promised_before_a_restart_is_still_promised(desk: Desk) -> None:
    desk.disk.waiting = [order()]
    desk.air.answers[order().record_id] = FULL
    async with trio.open_nursery() as nursery:
        # Nothing is handed in before it is known what was promised.
        await nursery.start(desk.submissions.run, desk.air)
        await desk.submissions.hand_in(order(), desk.air)
        nursery.cancel_scope.cancel()
    assert desk.disk.waiting == [order()]


async def test_what_made_room_for_another_record_is_promised_no_longer(desk: Desk) -> None:
    desk.disk.room = 1
    await desk.submissions.hand_in(order(1), desk.air)
    await desk.submissions.hand_in(order(2), desk.air)
    desk.air.answers[order(1).record_id] = FULL
    with pytest.raises(Refused):
        await desk.submissions.hand_in(order(1), desk.air)


async def test_a_record_is_found_by_its_number_on_its_way_and_on_the_ledger(desk: Desk) -> None:
    """A request that is sent again after its answer was lost must not become a second record."""
    signed = order(3)
    assert desk.submissions.said(signed.key_id, 3) is None
    await desk.submissions.hand_in(signed, desk.air)
    assert desk.submissions.said(signed.key_id, 3) == signed.record_id
    assert desk.submissions.said(order(4).key_id, 4) is None
    assert desk.submissions.said(bytes(8), 3) is None
    await desk.submissions.settled([signed.record_id])
    assert desk.submissions.said(signed.key_id, 3) is None
    desk.submissions._machine.state.nonces.put((signed.key_id, 3), Nonce(signed.record_id, START_S + 900, 5))
    assert desk.submissions.said(signed.key_id, 3) == signed.record_id


async def test_refusals_are_remembered_up_to_their_bound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "REFUSALS_KEPT", 2)
    for number in (1, 2, 3):
        desk.submissions.void(order(number), TAKEN)
    assert [await status(desk, order(number)) for number in (1, 2, 3)] == ["unknown", "refused", "refused"]


# --- waiting


async def test_who_waits_is_told_when_the_block_is_final(desk: Desk, autojump_clock: MockClock) -> None:
    told: list[tuple[float, object]] = []

    async def wait(wait_s: float) -> None:
        place = await desk.submissions.wait(order().record_id, wait_s)
        told.append((trio.current_time(), place))

    async with trio.open_nursery() as nursery:
        for wait_s in (1.0, 10.0, 10.0):
            nursery.start_soon(wait, wait_s)
        await trio.sleep(3)
        desk.submissions.final(8, START_S, [done(order(2)), done(order(), Verdict.NONCE_TAKEN)])
    # The impatient one does not keep the others from hearing it.
    assert told == [(1.0, None), (3.0, (8, Verdict.NONCE_TAKEN)), (3.0, (8, Verdict.NONCE_TAKEN))]
    assert await desk.submissions.wait(order().record_id, 10) == (8, Verdict.NONCE_TAKEN)
    assert trio.current_time() == 3.0, "what is known is told at once"


async def test_who_does_not_wait_is_told_what_is_known(desk: Desk, autojump_clock: MockClock) -> None:
    assert await desk.submissions.wait(order().record_id, 0) is None
    assert trio.current_time() == 0.0


async def test_an_old_record_is_found_on_disk_once_its_verdict_is_there(desk: Desk) -> None:
    desk.disk.blocks[order().record_id] = 3
    assert await desk.submissions.wait(order().record_id, 0) is None, "on disk, but not executed yet"
    desk.disk.verdicts[order().record_id] = Verdict.ACCEPTED.value
    assert await desk.submissions.wait(order().record_id, 0) == (3, Verdict.ACCEPTED)


async def test_what_nobody_waits_for_any_more_is_forgotten(desk: Desk, autojump_clock: MockClock) -> None:
    """Strangers may ask for any id: whether they lose patience or hang up, nothing of it stays."""
    for number in range(20):
        assert await desk.submissions.wait(bytes([number]) * 32, 0.5) is None
    with trio.move_on_after(1) as connection:
        await desk.submissions.wait(bytes(32), 60)
    assert connection.cancelled_caught
    assert desk.submissions._waiting == {}


async def test_outcomes_are_remembered_up_to_their_bound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert OUTCOMES_KEPT == 4096
    monkeypatch.setattr(submissions, "OUTCOMES_KEPT", 2)
    for number in (1, 2, 3):
        desk.submissions.final(number, START_S, [done(order(number))])
    assert [await desk.submissions.wait(order(number).record_id, 0) for number in (1, 2, 3)] == [
        None,
        (2, Verdict.ACCEPTED),
        (3, Verdict.ACCEPTED),
    ]


async def test_the_time_to_finality_is_that_of_own_records(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("meshnode.submissions.time.monotonic", lambda: now)
    await desk.submissions.hand_in(order(1), desk.air)
    await desk.submissions.hand_in(order(2), desk.air)
    desk.submissions.void(order(2), TAKEN)
    now = 100.2504
    desk.submissions.final(4, START_S, [done(order(1)), done(order(2)), done(order(3))])
    desk.submissions.final(5, START_S, [done(order(1))])
    assert list(desk.submissions.commit_ms) == [250]
    assert desk.submissions._began == {}
