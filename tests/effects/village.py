"""Village: the small ledger that proofs about energy run, under a binding of a few sentences.

Homes are named by the first letters; whoever is not named uses and gives nothing. A kWh from the grid costs 0.30, the
grid pays 0.10 for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshnode.local_time import offset_s
from meshnode.settlement import GRID_ACCOUNT, Line, Reason, Settlement, fund_account
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from tests.ledger.chain import Chain, account, member, period_s

FUND = fund_account("community fund")

_HEAD = """Rule language 'en'
Rule binding version 1
Scenario 'market': Palm Bay
Given the currency is 'EUR'
And grid energy costs 0.30 EUR/kWh
And grid feed-in pays 0.10 EUR/kWh
"""
_SETTLE = """And the settlement period is 15 minutes
And a period settles 2 minutes after its end
And corrections are accepted for 2 days
"""

Homes = dict[str, tuple[int, ...]]
"""Wh by home: (taken, given) or (taken, given, produced)."""


def contract(*blocks: str, given: Sequence[str] = (), settle: str = _SETTLE) -> str:
    """A binding. blocks: «event; action; action», or «event; if condition; action»."""
    lines = [*(f"And {one}" for one in given)]
    for block in blocks:
        event, *parts = block.split("; ")
        conditions = [one.removeprefix("if ") for one in parts if one.startswith("if ")]
        actions = [one for one in parts if not one.startswith("if ")]
        lines.append(f"When {event}")
        lines += [f"{'And' if place else 'If'} {one}" for place, one in enumerate(conditions)]
        lines += [f"{'And' if place else 'Then'} {one}" for place, one in enumerate(actions)]
        lines += ["EndIf"] if conditions else []
    return _HEAD + settle + "\n".join(lines) + "\n"


def closes(*parts: str) -> str:
    """A block of what holds when a settlement period closes."""
    return "; ".join(("a settlement period closes", *parts))


def founded(text: str, *, roles: dict[str, Sequence[str]] | None = None, homes: int = 3, **changes: Any) -> Chain:
    """A village with a binding; roles: of homes that have others than everybody."""
    chain = Chain(homes, binding=text)
    if not roles and not changes:
        return chain
    named = roles or {}
    members = tuple(
        member(home, (*named.get(home, ()), *(("administrator",) if home == "anna" else ()), "prosumer"))
        for home in chain.village.homes
    )
    return Chain(homes, binding=text, **({"members": members} | changes))


def period(chain: Chain, number: int = 0, **homes: tuple[int, ...]) -> Settlement:
    """One more period, in which every meter is read at the end."""
    totals: dict[str, list[int]] = chain.__dict__.setdefault("totals", {})
    names = chain.village.homes
    if not totals:
        totals |= {home: [10_000, 10_000, 10_000] for home in names}
        chain.block(*(_reading(chain, home, number - 1, totals[home], homes) for home in names))
    for home, energy in homes.items():
        totals[home] = [before + more for before, more in zip(totals[home], (*energy, 0)[:3], strict=True)]
    time_s = max(period_s(number + 1) + 3, chain.now_s)
    chain.block(*(_reading(chain, home, number, totals[home], homes) for home in names), time_s=time_s)
    return closed(chain)


def _reading(chain: Chain, home: str, number: int, total: list[int], homes: Homes) -> Any:
    produced = {"produced_wh": total[2]} if len(homes.get(home, ())) == 3 else {}
    return chain.reading(home, number, total[0], total[1], **produced)


def closed(chain: Chain) -> Settlement:
    """The settlement of the last block."""
    events = chain.events[chain.machine.height]
    return [one.settlement for one in events if isinstance(one, PeriodClosed | PeriodCorrected)][-1]


def settled(*actions: str, given: Sequence[str] = (), **homes: tuple[int, ...]) -> tuple[Chain, Settlement]:
    """One period of a village of three in which these actions hold whenever a period closes."""
    chain = founded(contract(closes(*actions), given=given))
    return chain, period(chain, **homes)


def line(settlement: Settlement, home: str) -> Line:
    """One home's period."""
    return next(one for one in settlement.lines if one.account == account(home))


def taken(settlement: Settlement) -> dict[str, int]:
    """What homes took from neighbours."""
    found = {home: line(settlement, home).neighbours_wh for home in ("anna", "bela", "carla")}
    return {home: wh for home, wh in found.items() if wh}


def paid(settlement: Settlement, reason: Reason) -> dict[tuple[bytes, bytes], int]:
    """What was posted for a reason, by (payer, receiver)."""
    found: dict[tuple[bytes, bytes], int] = {}
    for posting in settlement.postings:
        if posting.reason is reason:
            legs = (posting.debit, posting.credit)
            found[legs] = found.get(legs, 0) + posting.amount_u
    return found


ANNA, BELA, CARLA = (account(home) for home in ("anna", "bela", "carla"))
GRID = GRID_ACCOUNT


def clock(number: int) -> str:
    """The local time of day at which a period begins."""
    begins_s = period_s(number)
    minutes = (begins_s + offset_s(founded(contract()).genesis.zone_changes, begins_s)) // 60 % (24 * 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"
