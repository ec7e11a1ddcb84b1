"""Accuser: hands in what this node has found out - to its disk first, then to the community - and answers when asked.

Evidence needs neither an honest leader nor a ledger that goes on: the file beside the
ledger stays, and the evidence goes out again and again until the ledger knows of the lie.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec
import trio

from meshnode.keys import SigningKey
from meshnode.ledger import findings, rows
from meshnode.ledger.findings import FoundOut
from meshnode.machine import UPGRADE, Event, Machine
from meshnode.network.watcher import TWO_HISTORIES, Watcher
from meshnode.store import Store, proofs
from meshnode.submissions import Publisher, Submissions
from meshnode.web import backend
from protocols import block as blocks
from protocols import cose
from protocols.cose import key_id_of
from protocols.evidence import Case, EvidenceKind, check_answer
from protocols.records import Election, Evidence, Header, Vote, read_as

log = logging.getLogger(__name__)

# Evidence is not urgent; a leader that lies is seen by several nodes.
LOOK_S = 1.0
# A record signed now is good for ten minutes; what has found no block by then is signed anew.
AGAIN_S = 660.0
# Elections in one gap between an ack and a vote that are tried as the answer.
MAX_ANSWERS_TRIED = 64

# What to do about a halt of which this node may be to blame itself: memory that forgot, another version.
START_AGAIN = (
    "start this node again; if it stops again, check its ledger (meshnode ledger verify), that its version is that "
    "of the neighbours (meshnode --version), and its ledger against one of theirs (meshnode evidence compare)"
)

_STATUS = {
    rows.FINDING_PROVED: "proved",
    rows.FINDING_ASKED: "asked",
    rows.FINDING_ANSWERED: "answered",
}


class Grid(Protocol):
    """See `meshnode.microgrid.Microgrid`."""

    @property
    def machine(self) -> Machine: ...
    def nonce(self) -> int: ...
    def valid_until_s(self) -> int: ...


class Accuser:
    """See the module text."""

    def __init__(
        self,
        grid: Grid,
        watcher: Callable[[], Watcher],
        store: Store,
        device: SigningKey,
        submissions: Submissions,
        publisher: Publisher,
    ) -> None:
        """Args:
        watcher: of what votes or follows here at the moment.
        store: the ledger beside which the evidence is kept.
        """
        self._grid = grid
        self._machine = grid.machine
        self._watcher_now = watcher
        self._store = store
        self._device = device
        self._submissions = submissions
        self._publisher = publisher
        self._own: dict[tuple[bytes, int, int], tuple[Case, Evidence]] = {}
        self._questions: deque[Evidence] = deque()

    @property
    def _watcher(self) -> Watcher:
        return self._watcher_now()

    # --- what pages and commands show

    def found_out(self) -> tuple[backend.FoundOut, ...]:
        """Everybody who is known to have lied, or is asked, on the ledger or by this node alone."""
        ledger = self._machine.state.findings.items()
        known = {key: (row.about_height, _STATUS[row.status], True) for key, row in ledger}
        for key, (case, _) in self._own.items():
            known.setdefault(key, (case.height, "proved" if case.convicts else "asked", False))
        return tuple(
            backend.FoundOut(self._name(accused), EvidenceKind(kind).name, term, *known[accused, kind, term])
            for accused, kind, term in sorted(known)
        )

    def in_words(self, halted: str | None) -> str:
        """Why the node has halted, with names for key ids, and what to do about it."""
        if halted is None:
            return ""
        halted = self.leader_named(halted)
        for key, _ in self._machine.quorum.voters:
            halted = halted.replace(key_id_of(key).hex(), f"the node of {self._name(key_id_of(key))}")
        return halted if TWO_HISTORIES in halted or UPGRADE in halted else f"{halted}; {START_AGAIN}"

    def leader_named(self, text: str) -> str:
        """A sentence with the name of the leader whose key id it tells."""
        for key, _ in self._machine.quorum.voters:
            key_id = key_id_of(key)
            text = text.replace(f"the leader {key_id.hex()}", f"the leader {self._name(key_id)}")
        return text

    def _name(self, key_id: bytes) -> str:
        key = self._machine.state.keys.get(key_id)
        return key_id.hex() if key is None else self._machine.state.accounts[key.account].name

    # --- what happens

    def executed(self, events: Iterable[Event]) -> None:
        """A block became final; whatever of it concerns this node is answered by `run`."""
        for event in events:
            if isinstance(event, FoundOut):
                log.warning("on the ledger: the node of %s %s", self._name(event.case.accused), event.case.words)
                if event.case.kind is EvidenceKind.OLDER_TIP:
                    self._ask(event.record)

    async def run(self) -> None:
        """Hand in what the files beside the ledger hold, then what the watcher finds, until cancelled."""
        kept, faults = await trio.to_thread.run_sync(proofs.kept, self._store.place)
        for fault in faults:
            log.error("%s", fault)
        for evidence in kept.values():
            await self._accuse(evidence)
        for _, row in self._machine.state.findings.items():
            if row.status == rows.FINDING_ASKED:
                self._ask(self._on_ledger(row.record_id))
        again = trio.current_time() + AGAIN_S
        while True:
            for evidence in self._watcher.take():
                await self._accuse(evidence)
            while self._questions:
                await self._answer(self._questions.popleft())
            if trio.current_time() >= again:
                again = trio.current_time() + AGAIN_S
                for _, evidence in self._own.values():
                    await self._pass_on(evidence)
            await trio.sleep(LOOK_S)

    async def _accuse(self, evidence: Evidence) -> None:
        case = self._machine.hear(evidence)
        if case is None:
            log.error("evidence of kind %d against %s proves nothing", evidence.evidence_kind, evidence.accused.hex())
            return
        key = (case.accused, int(case.kind), case.term)
        self._watcher.dismiss(key)
        self._own[key] = (case, evidence)
        log.warning("found out: the node of %s %s", self._name(case.accused), case.words)
        await trio.to_thread.run_sync(proofs.keep, self._store.place, evidence, case)
        await self._pass_on(evidence)

    async def _pass_on(self, evidence: Evidence) -> None:
        case = self._machine.hear(evidence)
        if case is None or not findings.news(self._machine.state, case):
            return
        grid = self._grid
        record = msgspec.structs.replace(evidence, nonce=grid.nonce(), valid_until_s=grid.valid_until_s())
        signed = blocks.sign_record(record, self._machine.chain_id, self._device.public, self._device.sign)
        try:
            await self._submissions.hand_in(signed, self._publisher)
        except backend.Refused as refusal:
            log.warning("evidence is not passed on now, but later: %s", refusal)

    # --- being asked

    def _on_ledger(self, record_id: bytes) -> Evidence:
        place = self._store.find_record(record_id)
        assert place is not None, "what the state has found out stands in a final block"
        block = blocks.read(self._store.entry(place[0]).data, self._machine.chain_id)
        record = block.records[place[1]].record
        assert isinstance(record, Evidence)
        return record

    def _ask(self, question: Evidence) -> None:
        if question.accused == self._device.key_id:
            self._questions.append(question)

    async def _answer(self, question: Evidence) -> None:
        """Say why this node voted without a block that it had acknowledged, if its disk knows."""
        lost = read_as(Header, cose.decode(question.statements[1]).payload)
        vote = read_as(Vote, cose.decode(question.statements[2]).payload)
        for data in self._store.elections_after(lost.term, MAX_ANSWERS_TRIED):
            if check_answer(read_as(Election, data), lost, vote, self._machine.roll, self._watcher.verifier) is None:
                answer = msgspec.structs.replace(
                    question, evidence_kind=int(EvidenceKind.ANSWER), statements=(*question.statements, data)
                )
                await self._pass_on(answer)
                return
        log.error(
            "this node voted in term %d without block %d, which it had acknowledged, and has no election on its disk "
            "that explains it; was the disk restored from a backup? Then it must not vote again with this key",
            vote.term,
            lost.height,
        )
