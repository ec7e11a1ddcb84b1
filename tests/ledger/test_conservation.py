"""Conservation: whatever is put into blocks, nothing is made and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.ledger.verdicts import Verdict
from meshnode.machine import RecordDone
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from protocols.block import SignedRecord
from tests.ledger.chain import Chain, member, meter_key, period_s
from tests.protocols.keys import key_pair

HOMES = ("anna", "bela", "carla", "dora")
NEWCOMERS = ("emil", "fritz")


class Life:
    """What may happen in a village, drawn from one seeded generator; mistakes and refusals included."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.chain = Chain(4)
        self.registers: dict[str, tuple[int, int]] = dict.fromkeys(HOMES, (0, 0))
        self.said: list[SignedRecord] = []
        self.orders: list[tuple[str, SignedRecord]] = []

    def anybody(self) -> str:
        return self.chance.choice((*HOMES, *NEWCOMERS))

    def period(self) -> int:
        return (self.chain.now_s - period_s(0)) // 900

    def records(self, time_s: int) -> list[SignedRecord]:
        acts: tuple[Callable[[], SignedRecord], ...] = (
            *(self.reading,) * 6,
            *(self.order,) * 8,
            self.cancel,
            self.issue,
            *(self.transfer,) * 2,
            self.join,
            self.leave,
            self.key,
            self.again,
        )
        made = [self.chance.choice(acts)() for _ in range(self.chance.randrange(12))]
        # No block may carry what fails the gate of view, nor one record twice.
        ids: dict[bytes, SignedRecord] = {
            record.record_id: record
            for record in made
            if self.chain.machine.check_record(record, time_s) == Verdict.ACCEPTED
        }
        self.said += ids.values()
        return list(ids.values())

    def reading(self) -> SignedRecord:
        home = self.anybody()
        taken, given = self.registers.get(home, (0, 0))
        period = self.period() - self.chance.choice((1, 1, 1, 2, 3, 9))
        new = (taken + self.chance.randrange(-50, 900), given + self.chance.randrange(-50, 900))
        new = (max(0, new[0]), max(0, new[1]))
        self.registers[home] = new
        return self.chain.reading(home, period, *new, version=self.chance.choice((0, 0, 0, 1, 2)))

    def order(self) -> SignedRecord:
        home = self.anybody()
        make, low, high = self.chance.choice(((self.chain.bid, 150_000, 300_000), (self.chain.offer, 70_000, 200_000)))
        period = self.period() + self.chance.choice((-1, 0, 0, 0, 1))
        order = make(home, period, self.chance.randrange(1, 21_000), self.chance.randrange(low, high))
        self.orders.append((home, order))
        return order

    def cancel(self) -> SignedRecord:
        home, order = self.chance.choice(self.orders or [("anna", self.order())])
        return self.chain.cancel(self.chance.choice((home, home, "anna")), order)

    def issue(self) -> SignedRecord:
        return self.chain.issue(self.chance.choice(("anna", "bela")), "SUN", self.chance.randrange(0, 400), 1000)

    def transfer(self) -> SignedRecord:
        return self.chain.transfer(self.anybody(), self.anybody(), self.chance.randrange(1, 200))

    def join(self) -> SignedRecord:
        return self.chain.join(member(self.chance.choice(NEWCOMERS)))

    def leave(self) -> SignedRecord:
        return self.chain.leave(self.chance.choice((*NEWCOMERS, "dora")), by="anna")

    def key(self) -> SignedRecord:
        # Whose key was changed is silent from then on; most must go on talking.
        home = self.chance.choice((*NEWCOMERS, "dora"))
        old = self.chance.choice((key_pair(home), meter_key(home)))
        return self.chain.change_key(home, old, key_pair(f"spare {self.chance.randrange(10**6)}"))

    def again(self) -> SignedRecord:
        return self.chance.choice(self.said or [self.issue()])

    def step(self) -> None:
        """One block, seconds or hours after the last; the chain checks conservation after each."""
        time_s = self.chain.now_s + self.chance.choice((1, 5, 5, 60, 60, 60, 300, 300, 900, 950, 3000, 20_000))
        self.chain.block(*self.records(time_s), time_s=time_s)
        self.check()

    def check(self) -> None:
        state = self.chain.machine.state
        assert sum(row.amount_u for _, row in state.claims.items()) == 0
        supply = sum(row.supply for _, row in state.assets.items())
        assert sum(row.free + row.held for _, row in state.balances.items()) == supply <= 1000
        assert len(state.orders) == len(state.order_places)
        counted = {key: row.orders for key, row in state.order_counts.items()}
        assert sum(orders for (_, account), orders in counted.items() if account) == len(state.orders)
        assert sum(orders for (_, account), orders in counted.items() if not account) == len(state.orders)
        # An order of a period that is closed would never leave the book.
        assert all(key[0] >= self.chain.machine.next_period_s for key, _ in state.orders.items())


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_nothing_is_made_and_nothing_is_lost(seed: int) -> None:
    life = Life(seed)
    for _ in range(25):
        life.step()
    other = life.chain.replay()
    for block in life.chain.blocks:
        assert other.check_view(block) is None
        assert other.apply(block) == life.chain.events[block.header.height]
    assert other.state_hash() == life.chain.machine.state_hash()


def test_the_life_of_these_tests_is_eventful() -> None:
    """A property over blocks in which nothing happens would hold for anything."""
    verdicts: set[Verdict] = set()
    kinds: set[type] = set()
    traded = 0
    for seed in range(8):
        life = Life(seed)
        for _ in range(25):
            life.step()
        for events in life.chain.events.values():
            for event in events:
                kinds.add(type(event))
                if isinstance(event, RecordDone):
                    verdicts.add(event.verdict)
                if isinstance(event, PeriodClosed):
                    traded += len(event.trades)
    assert {RecordDone, PeriodClosed, PeriodCorrected} <= kinds
    assert len(verdicts) >= 15, sorted(verdict.name for verdict in verdicts)
    assert traded > 10
