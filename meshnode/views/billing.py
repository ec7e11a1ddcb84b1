"""Billing: what the views keep of billing periods and shared hours - the writing, and the answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from meshnode.settlement.billing_periods import BillingFinal, BillingPosted, HourShared
from meshnode.views import rows

NumberOf = Callable[[sqlite3.Connection, bytes], int]


def enter(db: sqlite3.Connection, height: int, event: BillingPosted, number_of: NumberOf) -> None:
    """A billing period as it stands now, one row an account."""
    for line in event.lines:
        sums = line.compensation
        values = (sums.bought_wh, sums.bought_u, sums.surplus_wh, sums.surplus_u, sums.compensated_u, sums.lost_u)
        db.execute(
            "INSERT OR REPLACE INTO billing_periods VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                *(event.first_s, number_of(db, line.account), event.until_s, event.entry, height, event.billing_id),
                *(*values, line.incentive_u),
            ),
        )


def finish(db: sqlite3.Connection, event: BillingFinal) -> None:
    """No correction can follow."""
    db.execute("UPDATE billing_periods SET final = 1 WHERE first_s = ?", (event.first_s,))


def enter_hour(db: sqlite3.Connection, event: HourShared, number_of: NumberOf) -> None:
    """An hour behind a substation as it stands now."""
    parts = msgspec.json.encode([(number_of(db, account), part_u) for account, part_u in event.parts])
    sums = (event.injected_wh, event.withdrawn_wh, event.shared_wh, event.incentive_u)
    db.execute(
        "INSERT OR REPLACE INTO shared_hours VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event.hour_s, event.substation, *sums, parts),
    )


def periods(
    db: sqlite3.Connection, account: bytes | None, below_s: int, limit: int, skip: int
) -> list[rows.BillingRow]:
    """Billing periods that ended and began before a time, newest first, of one account or of all."""
    where = "" if account is None else "AND accounts.account = :account "
    found = db.execute(
        "SELECT billing_id, first_s, until_s, accounts.account, name, entry, height, bought_wh, bought_u, surplus_wh, "
        "surplus_u, compensated_u, lost_u, incentive_u, final FROM billing_periods AS mine "
        "JOIN accounts ON number = mine.account "
        f"WHERE first_s < :below {where}ORDER BY first_s DESC, accounts.account LIMIT :limit OFFSET :skip",
        {"account": account, "below": below_s, "limit": limit, "skip": skip},
    )
    names = rows.BillingRow.__struct_fields__
    return [
        rows.BillingRow(
            **dict(zip(names, (billing_id.hex(), first_s, until_s, owner.hex(), *facts, bool(final)), strict=True))
        )
        for billing_id, first_s, until_s, owner, *facts, final in found
    ]


def hours(db: sqlite3.Connection, from_s: int, to_s: int, limit: int, skip: int) -> list[rows.SharedHourRow]:
    """Shared hours that begin in [from_s, to_s), in order, with what each member received."""
    found = db.execute(
        "SELECT hour_s, substation, injected_wh, withdrawn_wh, shared_wh, incentive_u, parts FROM shared_hours "
        "WHERE hour_s >= ? AND hour_s < ? ORDER BY hour_s, substation LIMIT ? OFFSET ?",
        (from_s, to_s, limit, skip),
    ).fetchall()
    called = dict(db.execute("SELECT number, CASE name WHEN '' THEN lower(hex(account)) ELSE name END FROM accounts"))
    names = rows.SharedHourRow.__struct_fields__
    answer = []
    for *facts, parts in found:
        received_u = {called[number]: part_u for number, part_u in msgspec.json.decode(parts)}
        answer.append(rows.SharedHourRow(**dict(zip(names, (*facts, received_u), strict=True))))
    return answer
