"""Clients: members that write through random nodes and read fresh answers, and write down what they were told.

A member signs a transfer once and hands it to nodes until it is settled. Every record is in exactly one
of the books at the end; what the books say is held against the ledgers by `judge`.
"""

from __future__ import annotations

from collections import Counter, deque
from random import Random

import msgspec
import trio

from meshnode import fate, ledger_tools
from meshnode.client import ClientError
from meshnode.fate import Fate
from protocols.block import SignedRecord
from protocols.records import to_payload
from tests.chaos.grid import ChaosNode, Grid
from tests.linearizability.history import Recorder
from tests.linearizability.ledger import Absent, Final, ReadRecord, Refused, WriteRecord

# Until then a record that no block has carried stays unknown; short, so that the end of a run is.
VALID_S = 20
# A client goes to another node after so long without an answer.
ANSWER_S = 4.0
WAIT_S = 2
FRESH_S = 3
# After so long a writer goes on to the next record; the open one is settled at the end.
PATIENCE_S = 12.0
PAUSE_S = (0.02, 0.3)
# Records that readers ask for: the newest ones, about which most can go wrong.
NEWEST = 40
# Of a hundred records so many must be refused.
BAD_PERCENT = 9
TOO_MUCH = 10**12


class Told(msgspec.Struct):
    """A record and what its client was told last.

    bad: why it must never take effect; empty for an honest one.
    nodes: to how many it was handed in.
    """

    signed: SignedRecord
    call: int
    bad: str
    valid_until_s: int
    fate: Fate | None = None
    nodes: int = 0

    @property
    def record_id(self) -> str:
        return self.signed.record_id.hex()


class Clients:
    """All writers and readers of a run.

    Attributes:
        books: every record that was made, by id.
        violations: what clients were told that must not be told.
        counts: answers, by what they were.
        last_final: when the newest record was acknowledged, by `trio.current_time`.
    """

    def __init__(self, grid: Grid, seed: int) -> None:
        self.books: dict[str, Told] = {}
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.recorder = Recorder()
        self._grid = grid
        self._seed = seed
        self._newest: deque[Told] = deque(maxlen=NEWEST)
        self._genesis = to_payload(grid.genesis)

    async def run(self, writers: int, readers: int) -> None:
        """Write and read until cancelled."""
        async with trio.open_nursery() as nursery:
            for number in range(writers):
                nursery.start_soon(self._write_on, f"writer {number}")
            for number in range(readers):
                nursery.start_soon(self._read_on, f"reader {number}")

    def open(self) -> list[Told]:
        """Records whose fate is not known yet."""
        return [told for told in self.books.values() if told.fate is None]

    async def settle(self, told: Told) -> None:
        """Ask random nodes about a record until its fate is known; half of the time hand it in again."""
        random = Random(f"settle {self._seed} {told.record_id}")
        if told.nodes == 0:
            # Its writer was stopped before anybody heard of it.
            told.fate = Fate(status=fate.REFUSED, record_id=told.record_id, lasting=False)
        while told.fate is None:
            await self._attempt(told, random.choice(self._grid.nodes), again=random.random() < 0.5)
            await trio.sleep(random.uniform(*PAUSE_S))

    async def write(self, client: str, random: Random, nodes: list[ChaosNode] | None = None) -> Told:
        """Make a record and hand it to nodes until it is settled, or for `PATIENCE_S`."""
        told = self._make(client, random)
        self.books[told.record_id] = told
        self._newest.append(told)
        with trio.move_on_after(PATIENCE_S):
            while told.fate is None:
                node = random.choice(nodes or self._grid.nodes)
                await self._attempt(told, node, again=told.nodes == 0 or random.random() < 0.5)
                if told.fate is None:
                    await trio.sleep(random.uniform(*PAUSE_S))
        return told

    # --- writing

    async def _write_on(self, client: str) -> None:
        random = Random(f"{client} {self._seed}")
        while True:
            await self.write(client, random)
            await trio.sleep(random.uniform(*PAUSE_S))

    def _make(self, client: str, random: Random) -> Told:
        sender, receiver = random.sample(range(len(self._grid.nodes)), 2)
        amount, valid_s, key, bad = 1, VALID_S, None, ""
        if random.randrange(100) < BAD_PERCENT:
            bad = random.choice(("too much", "expired", "wrong key"))
            amount = TOO_MUCH if bad == "too much" else 1
            # Older than any clock here is wrong.
            valid_s = -600 if bad == "expired" else VALID_S
            key = self._grid.nodes[sender].keys.device if bad == "wrong key" else None
        signed = self._grid.transfer(sender, receiver, amount, valid_s, key)
        moves = () if bad else ((f"home{sender}", -1), (f"home{receiver}", 1))
        call = self.recorder.called(client, WriteRecord(signed.record_id.hex(), moves))
        return Told(signed, call, bad, signed.record.valid_until_s)

    async def _attempt(self, told: Told, node: ChaosNode, *, again: bool) -> None:
        """Hand a record in (again), or only ask; notes its fate if that settles it."""
        try:
            if again:
                elsewhere = told.nodes > 0
                told.nodes += 1
                found = await fate.hand_in(
                    node.client,
                    told.signed.envelope_bytes,
                    told.record_id,
                    wait_s=WAIT_S,
                    elsewhere=elsewhere,
                    valid_until_s=told.valid_until_s,
                    deadline_s=ANSWER_S,
                )
            else:
                found = await fate.ask(
                    node.client,
                    told.record_id,
                    wait_s=WAIT_S,
                    valid_until_s=told.valid_until_s,
                    deadline_s=ANSWER_S,
                )
        except ClientError as error:
            self.counts["no answer"] += 1
            if 400 <= error.status < 500:
                self.violations.append(f"{node.name}: an honest request was called wrong: {error}")
            elif again and not error.in_doubt:
                told.nodes -= 1
            return
        if found.status == fate.UNKNOWN:
            self.counts["unknown, asked again"] += 1
            return
        self._note(told, node, found)

    def _note(self, told: Told, node: ChaosNode, found: Fate) -> None:
        """A record's fate is told: that is for good."""
        told.fate = found
        self.counts[f"written: {found.status}{'' if found.accepted or not found.verdict else ' ' + found.verdict}"] += 1
        if found.status == fate.REFUSED and not found.lasting:
            # Not taken, not passed on, and nobody else was asked: `judge` finds it on no ledger. For readers it stays
            # open, since they hear that it is not there, and that it never will be once its time is over.
            return
        self.recorder.returned(told.call, Final() if found.accepted else Refused())
        if found.accepted and told.bad:
            self.violations.append(f"{node.name}: record {told.record_id} ({told.bad}) was accepted")
        # Who hands it in again after its time hears that it is refused for that.
        late = found.status == fate.NEVER or told.valid_until_s < self._grid.now_s()
        if not found.accepted and not told.bad and not late:
            self.violations.append(f"{node.name}: an honest record was refused: {found}")
        if found.status == fate.FINAL:
            self._check_receipt(told, node, found)

    def _check_receipt(self, told: Told, node: ChaosNode, found: Fate) -> None:
        try:
            proved = ledger_tools.check_receipt(bytes.fromhex(found.receipt), self._genesis)
        except Exception as error:
            self.violations.append(f"{node.name}: the receipt of {told.record_id} does not hold: {error}")
            return
        if proved.record_id != told.signed.record_id:
            self.violations.append(f"{node.name}: the receipt of {told.record_id} is for {proved.record_id.hex()}")

    # --- reading

    async def _read_on(self, client: str) -> None:
        random = Random(f"{client} {self._seed}")
        while True:
            if self._newest:
                await self._read(client, random.choice(self._newest), random.choice(self._grid.nodes))
            await trio.sleep(random.uniform(*PAUSE_S))

    async def _read(self, client: str, told: Told, node: ChaosNode) -> None:
        call = self.recorder.called(client, ReadRecord(told.record_id))
        try:
            found = await fate.ask(
                node.client, told.record_id, fresh_s=FRESH_S, valid_until_s=told.valid_until_s, deadline_s=ANSWER_S
            )
        except ClientError as error:
            self.recorder.failed(call)
            self.counts["read: no majority" if error.status == 504 else "read: no answer"] += 1
            return
        self.counts[f"read: {found.status}"] += 1
        if found.status == fate.UNKNOWN:
            self.recorder.returned(call, Absent())
        else:
            self.recorder.returned(call, Final() if found.accepted else Refused())
