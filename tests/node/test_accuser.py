"""Accuser: a node keeps what it has found out, hands it in until the ledger knows, and answers when it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import trio

from meshnode.accuser import AGAIN_S, START_AGAIN, Accuser
from meshnode.keys import SigningKey, verify
from meshnode.ledger import rows
from meshnode.ledger.verdicts import Verdict
from meshnode.mempool import Refusal
from meshnode.network.watcher import TWO_HISTORIES, Watcher
from meshnode.news import News
from meshnode.outbox import Outbox
from meshnode.store import Batch, Store, proofs
from meshnode.submissions import Submissions
from meshnode.views import Views
from protocols.block import Parent, SignedRecord
from protocols.cose import Envelope
from protocols.evidence import EvidenceKind
from protocols.records import Election, Evidence, Tip, to_payload
from tests.ledger.chain import Chain
from tests.protocols.keys import seed_of
from tests.protocols.village import device

BELA = SigningKey(seed_of("bela device"))
FULL = Refusal(None, "the mempool is full; try again later", blame=False, lasting=False)


async def prove_nothing(_record_id: bytes) -> bytes:
    """Nobody asks for a receipt here."""
    return b""


class Desk:
    """Bela's accuser with a real ledger, outbox and machine, and a list in place of the gossip."""

    def __init__(self, chain: Chain, place: Path) -> None:
        self.chain = chain
        self.machine = chain.machine
        self.watcher = Watcher(lambda: chain.machine.roll, verify)
        self.handed_in: list[Evidence] = []
        self.refusal: Refusal | None = None
        self.store = Store.open(place, chain.chain_id)
        self._views = Views.open(self.store.place, chain.genesis, self.store.final_height())
        self._outbox = Outbox.open(self.store.place, chain.chain_id)
        submissions = Submissions(self._outbox, self.store, self._views, News(), chain.machine, prove_nothing)
        self.accuser = Accuser(self, lambda: self.watcher, self.store, BELA, submissions, self)

    def nonce(self) -> int:
        return self.chain.nonce()

    def valid_until_s(self) -> int:
        return self.chain.now_s + 600

    async def submit(self, signed: SignedRecord) -> Refusal | None:
        assert isinstance(signed.record, Evidence)
        verdict = self.machine.check_record(signed, self.chain.now_s)
        assert verdict == Verdict.ACCEPTED, verdict
        self.handed_in.append(signed.record)
        return self.refusal

    def close(self) -> None:
        self._outbox.close()
        self._views.close()
        self.store.close()


@asynccontextmanager
async def running(chain: Chain, directory: Path) -> AsyncIterator[Desk]:
    desk = Desk(chain, directory)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.accuser.run)
            yield desk
            nursery.cancel_scope.cancel()
    finally:
        desk.close()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not condition():
            await trio.sleep(0.01)


def a_lie(chain: Chain, watcher: Watcher) -> None:
    """Carla makes two blocks for one height."""
    parent = Parent.of(chain.blocks[-1])
    for seconds in (1, 2):
        watcher.block(chain.village.block(parent, "carla", 2, head={"time_s": parent.time_s + seconds}))


def founded(directory: Path) -> Chain:
    chain = Chain()
    chain.block(chain.issue("anna"))
    chain.store(directory)
    return chain


async def test_what_is_found_out_is_on_the_disk_and_handed_in_once(tmp_path: Path) -> None:
    chain = founded(tmp_path)
    async with running(chain, tmp_path) as desk:
        a_lie(chain, desk.watcher)
        await until(lambda: bool(desk.handed_in))
        [(path, kept)] = proofs.kept(desk.store.place)[0].items()
        assert msgspec.structs.replace(desk.handed_in[0], nonce=0, valid_until_s=0) == kept
        assert path.name == f"headers-{device('carla').key_id.hex()}-2.evidence"
        [found] = desk.accuser.found_out()
        assert (found.name, found.kind, found.status, found.on_ledger) == ("carla", "HEADERS", "proved", False)
    # After a restart it goes out again, signed anew, until the ledger has it; found again, it is the same.
    async with running(chain, tmp_path) as desk:
        await until(lambda: bool(desk.handed_in))
        a_lie(chain, desk.watcher)
        assert desk.watcher.take() == []
        chain.block(chain.sign(desk.handed_in[0], device("bela")))
        [found] = desk.accuser.found_out()
        assert found.on_ledger
    async with running(chain, tmp_path) as desk:
        await until(lambda: bool(desk.accuser._own))
        assert not desk.handed_in


async def test_what_found_no_block_is_signed_anew(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    # Quick, but no jumps: the disk works in a thread, whose time a clock that jumps would not wait for.
    mock_clock.rate = 4000
    chain = founded(tmp_path)
    async with running(chain, tmp_path) as desk:
        desk.refusal = FULL
        a_lie(chain, desk.watcher)
        await trio.sleep(4 * AGAIN_S)
        assert len(desk.handed_in) >= 3
        assert len({record.nonce for record in desk.handed_in}) == len(desk.handed_in)


def asked(chain: Chain, directory: Path, *elections: Election) -> None:
    """The ledger asks Bela why it voted without a block; its store has these elections."""
    parent = Parent.of(chain.blocks[0])
    lost = chain.village.block(parent, "carla", 2)
    tip = Tip(term=parent.term, height=parent.height, block=parent.block_hash)
    key_id, ack, signature = chain.village.ack(lost, "bela")
    statements = (
        Envelope(key_id, to_payload(ack), signature).encode(),
        lost.header_envelope.encode(),
        chain.vote("bela", 9, "anna", tip),
    )
    chain.block(chain.evidence(EvidenceKind.OLDER_TIP, "bela", *statements, signer="anna"))
    chain.store(directory)
    with Store.open(directory, chain.chain_id) as store:
        store.persist(Batch(elections=tuple(to_payload(election) for election in elections)))


async def test_a_node_that_is_asked_answers_with_the_election_on_its_disk(tmp_path: Path) -> None:
    chain = Chain()
    chain.block(chain.issue("anna"))
    parent = Parent.of(chain.blocks[0])
    reasons = [chain.village.election("anna", term, parent) for term in (2, 5, 9)]
    asked(chain, tmp_path, *reasons)
    async with running(chain, tmp_path) as desk:
        await until(lambda: bool(desk.handed_in))
        answer = desk.handed_in[0]
        assert answer.evidence_kind == EvidenceKind.ANSWER and answer.statements[-1] == to_payload(reasons[1])
        [found] = desk.accuser.found_out()
        assert (found.name, found.status) == ("bela", "asked")
        chain.block(chain.sign(answer, device("bela")))
        desk.accuser.executed(chain.events[chain.machine.height])
        [found] = desk.accuser.found_out()
        assert found.status == "answered"
    [(_, row)] = chain.machine.state.findings.items()
    assert row.status == rows.FINDING_ANSWERED


async def test_a_node_without_an_answer_says_so_to_its_owner(tmp_path: Path, caplog: object) -> None:
    chain = Chain()
    chain.block(chain.issue("anna"))
    asked(chain, tmp_path)
    async with running(chain, tmp_path) as desk:
        await until(lambda: "restored from a backup" in str(getattr(caplog, "text", "")))
        assert not desk.handed_in


async def test_the_reason_of_a_halt_names_people(tmp_path: Path) -> None:
    chain = founded(tmp_path)
    async with running(chain, tmp_path) as desk:
        text = f"height 2; {device('carla').key_id.hex()} signed two different blocks; {TWO_HISTORIES}"
        said = f"height 2; the node of carla signed two different blocks; {TWO_HISTORIES}"
        assert desk.accuser.in_words(text) == said
        text = f"ours is ab, the leader {device('carla').key_id.hex()} signed cd"
        assert desk.accuser.in_words(text) == f"ours is ab, the leader carla signed cd; {START_AGAIN}"
        assert desk.accuser.in_words(None) == ""
