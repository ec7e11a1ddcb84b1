"""Bills: what members, funds and the grid pay and receive over some settlement periods, added up from events.

A bill is in parts: what was paid to and by neighbours, the grid, fees and levies; the energy behind it
is told as own, neighbours' and grid's. Energy from the own roof is paid to nobody. Corrections
replace what they correct. All bills together, funds and grid among them, come to zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from meshnode.ledger.movements import Moved, What
from meshnode.machine import Event
from meshnode.settlement import Line, Posting, Reason
from meshnode.settlement.billing_periods import BillingPosted
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected, PeriodFinal
from meshnode.settlement.dues import DuesPosted
from meshnode.settlement.posting import changes_by_account

NEIGHBOURS: Final = "neighbours"
GRID: Final = "grid"
FEES: Final = "fees"
LEVIES: Final = "levies"
OTHER: Final = "other"

PARTS: Final = {
    Reason.TRADE: NEIGHBOURS,
    Reason.SELLER_SHORT: NEIGHBOURS,
    Reason.BUYER_SHORT: NEIGHBOURS,
    Reason.SHARED: NEIGHBOURS,
    Reason.PRICED: NEIGHBOURS,
    Reason.SURPLUS: NEIGHBOURS,
    Reason.GRID: GRID,
    Reason.LOST: GRID,
    Reason.FEED_IN: GRID,
    Reason.INCENTIVE: GRID,
    Reason.SHARED_HOURS: GRID,
    Reason.FEE: FEES,
    Reason.GRID_FEE: FEES,
    Reason.STORAGE_FEE: FEES,
    Reason.MEMBERSHIP: FEES,
    Reason.LEVY: LEVIES,
    Reason.SOLIDARITY: LEVIES,
    Reason.TAX: LEVIES,
    Reason.DEPOSIT: OTHER,
    Reason.PAID_BACK: OTHER,
    Reason.PACKAGE: OTHER,
}
"""Which part of a bill a posting belongs to, for every reason. What is paid from outside for shared energy comes from
the grid's account, and is told with it."""


class Energy(msgspec.Struct, frozen=True):
    """Where energy came from and went, in Wh; own + neighbours + grid is what was used."""

    own_wh: int = 0
    neighbours_wh: int = 0
    grid_wh: int = 0
    sold_wh: int = 0
    fed_in_wh: int = 0


class Bill(msgspec.Struct, frozen=True):
    """What one account pays, in micro-units of the currency; below zero it receives.

    total_u is the sum of the parts.
    """

    neighbours_u: int = 0
    grid_u: int = 0
    fees_u: int = 0
    levies_u: int = 0
    other_u: int = 0
    energy: Energy = Energy()

    @property
    def total_u(self) -> int:
        """What is left to pay."""
        return self.neighbours_u + self.grid_u + self.fees_u + self.levies_u + self.other_u


class Tally:
    """Adds up the bills of the periods that begin in [from_s, to_s), and of billing periods that end with one of them.

    Attributes:
        claims: of every account from the beginning of the ledger on, whatever the range: what was
            posted for it less what was paid.
        periods: how many of the range have closed; `final`: of them can no more be corrected.
    """

    def __init__(self, from_s: int, to_s: int) -> None:
        self._from_s, self.to_s = from_s, to_s
        self._parts: dict[bytes, dict[str, int]] = {}
        self._energy: dict[bytes, list[int]] = {}
        # Of periods that may still be corrected: what the last settlement said.
        self._open: dict[int, tuple[Line, ...]] = {}
        self.claims: dict[bytes, int] = {}
        self.periods = self.final = 0

    def take(self, events: Iterable[Event]) -> None:
        """Add what a block did."""
        for event in events:
            match event:
                case PeriodClosed():
                    self._settled(event, event.settlement.postings)
                    self.periods += self._counts(event.start_s)
                case PeriodCorrected():
                    self._settled(event, event.postings)
                case PeriodFinal():
                    self._open.pop(event.start_s, None)
                    self.final += self._counts(event.start_s)
                case BillingPosted():
                    self._posted(event.last_s, event.postings)
                case DuesPosted():
                    self._posted(event.start_s, event.postings)
                case Moved(what=What.CLAIM_PAID):
                    self._pay(event.taker or event.giver, event.amount if event.taker else -event.amount)

    def bills(self) -> dict[bytes, Bill]:
        """The bill of every account that has one, by account."""
        return {
            account: Bill(
                **{f"{part}_u": amount for part, amount in self._parts.get(account, {}).items()},
                energy=Energy(*self._energy.get(account, ())),
            )
            for account in sorted(self._parts.keys() | self._energy.keys())
        }

    def _counts(self, start_s: int) -> bool:
        return self._from_s <= start_s < self.to_s

    def _settled(self, event: PeriodClosed | PeriodCorrected, postings: tuple[Posting, ...]) -> None:
        # Where nothing moves, the settlement is only shown.
        self._posted(event.start_s, postings if event.settlement.moves else ())
        for pair in event.pairs:
            self._pay(pair.account, pair.pair.paid_u)
        if not self._counts(event.start_s):
            return
        self._count(self._open.get(event.start_s, ()), -1)
        self._count(event.settlement.lines, 1)
        self._open[event.start_s] = event.settlement.lines

    def _count(self, lines: tuple[Line, ...], sign: int) -> None:
        for line in lines:
            known = self._energy.setdefault(line.account, [0] * len(Energy.__struct_fields__))
            for place, name in enumerate(Energy.__struct_fields__):
                known[place] += sign * getattr(line, name)

    def _posted(self, start_s: int, postings: tuple[Posting, ...]) -> None:
        for account, change in changes_by_account(postings).items():
            self._pay(account, -change)
        if not self._counts(start_s):
            return
        for posting in postings:
            part = PARTS[posting.reason]
            self._add(posting.debit, part, posting.amount_u)
            self._add(posting.credit, part, -posting.amount_u)

    def _add(self, account: bytes, part: str, amount_u: int) -> None:
        parts = self._parts.setdefault(account, {})
        parts[part] = parts.get(part, 0) + amount_u

    def _pay(self, account: bytes, amount_u: int) -> None:
        left = self.claims.get(account, 0) - amount_u
        if left:
            self.claims[account] = left
        else:
            self.claims.pop(account, None)
