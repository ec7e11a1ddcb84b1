"""Fees: what is posted for a period's energy beside its price - fees, levies, grid fees, solidarity, the incentive.

Pure. Each function writes its postings into the books of a period that has its energy settled already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshnode.amounts import split, value
from meshnode.market.grid_fees import GridFees, Location
from meshnode.settlement.books import Books
from meshnode.settlement.credit import solidarity as divide_solidarity
from meshnode.settlement.levies import (
    CONSUMED,
    GRID,
    INJECTED,
    NEIGHBOURS,
    SOLAR,
    STORED,
    Charge,
    Solidarity,
    charged_wh,
    earned_u,
    solar_wh,
    taken_by_fee,
)
from meshnode.settlement.metered import Metered
from meshnode.settlement.posting import (
    COMMUNITY_FUND,
    CONSUMERS,
    GRID_ACCOUNT,
    POOL_ACCOUNT,
    PRODUCERS,
    Reason,
    fund_account,
)

Energies = dict[int, dict[bytes, int]]
"""Wh by account, by the base of fees and levies."""
Shares = tuple[tuple[bytes, int], ...]


def energies(
    members: Mapping[bytes, Metered],
    neighbours_wh: dict[bytes, int],
    grid_wh: dict[bytes, int],
    sold_wh: Mapping[bytes, int],
    stored_wh: Mapping[bytes, int],
) -> Energies:
    """The energy of a settled period, by what may be charged for it."""
    produced = {account: metered.produced_wh or 0 for account, metered in members.items()}
    return {
        CONSUMED: {account: metered.consumption_wh for account, metered in members.items()},
        NEIGHBOURS: neighbours_wh,
        GRID: grid_wh,
        INJECTED: {account: metered.export_wh for account, metered in members.items()},
        SOLAR: solar_wh(produced, sold_wh, neighbours_wh),
        STORED: {account: stored_wh.get(account, 0) for account in members},
    }


def charge(books: Books, found: Energies, charges: Iterable[Charge]) -> None:
    """Fees and levies on energy, divided among their recipients."""
    groups = {CONSUMERS: books.neighbours_wh, PRODUCERS: books.sold_wh}
    for one in charges:
        waiting = dict.fromkeys(groups, 0)
        for account, energy_wh in charged_wh(one, found).items():
            for recipient, amount_u in divided(value(one.u_kwh, energy_wh), one.shares, books).items():
                to = POOL_ACCOUNT if recipient in groups else recipient
                if amount_u and to != account:
                    books.post(account, to, energy_wh, one.u_kwh, one.reason, amount_u=amount_u)
                if recipient in groups:
                    waiting[recipient] += amount_u
        for group, total_u in waiting.items():
            for account, amount_u in split(total_u, groups[group].items()).items() if total_u else ():
                if amount_u:
                    energy_wh = groups[group][account]
                    books.post(POOL_ACCOUNT, account, energy_wh, one.u_kwh, one.reason, amount_u=amount_u)


def divided(amount_u: int, shares: Shares, books: Books) -> dict[bytes, int]:
    """An amount by recipient. What is for those who share, while nobody does, goes to the community fund."""
    if any(books.neighbours_wh.values()):
        return split(amount_u, shares)
    whole: dict[bytes, int] = {}
    for recipient, ppm in shares:
        to = fund_account(COMMUNITY_FUND) if recipient in (CONSUMERS, PRODUCERS) else recipient
        whole[to] = whole.get(to, 0) + ppm
    return split(amount_u, whole.items())


def charge_grid(books: Books, fees: GridFees, locations: dict[bytes, Location]) -> None:
    """What the grid takes for energy from neighbours; who took it pays."""
    for (account, fee_u_kwh), energy_wh in taken_by_fee(fees, locations, books.postings).items():
        if fee_u_kwh:
            books.post(account, GRID_ACCOUNT, energy_wh, fee_u_kwh, Reason.GRID_FEE)


def solidarity(books: Books, rule: Solidarity) -> None:
    """A part of what was earned, through the pool."""
    given_u, received_u = divide_solidarity(earned_u(books.postings), rule.share_ppm, dict(rule.helped))
    for account, amount_u in given_u.items():
        if amount_u:
            books.post(account, POOL_ACCOUNT, 0, 0, Reason.SOLIDARITY, amount_u=amount_u)
    for account, amount_u in received_u.items():
        if amount_u:
            books.post(POOL_ACCOUNT, account, 0, 0, Reason.SOLIDARITY, amount_u=amount_u)


def incentive(books: Books, u_kwh: int, shares: Shares) -> None:
    """What the authority pays for what was shared, divided among its recipients."""
    shared_wh = sum(books.neighbours_wh.values())
    groups = {CONSUMERS: books.neighbours_wh, PRODUCERS: books.sold_wh}
    for recipient, part_u in divided(value(u_kwh, shared_wh), shares, books).items():
        weights = groups.get(recipient, {recipient: shared_wh})
        for account, amount_u in split(part_u, weights.items()).items():
            if amount_u:
                books.post(GRID_ACCOUNT, account, weights[account], u_kwh, Reason.INCENTIVE, amount_u=amount_u)
