"""History: what screens ask about tokens and contracts, answered by rows. As `reading`, for tables of their own."""

from __future__ import annotations

import sqlite3

import msgspec

from meshnode.ledger.movements import What
from meshnode.views import rows
from meshnode.views.schema import height_of, place_of
from meshnode.views.writing import place_of_record

# What stands beside a record: its sealed memo, the record's nonce, the reference of a payment.
Note = tuple[bytes, int, str]
NO_NOTE: Note = (b"", 0, "")
STATUSES = ("offered", "signed", "ended")


def movements(
    db: sqlite3.Connection, account: bytes | None, asset: str | None, below: int, limit: int
) -> list[rows.MovementRow]:
    """Movements with a number under `below`, newest first."""
    wanted = [
        "movements.number < :below",
        *(["(g.account = :account OR t.account = :account)"] if account is not None else []),
        *(["asset = :asset"] if asset is not None else []),
    ]
    found = db.execute(
        "SELECT movements.number, height, time_s, what, coalesce(g.account, x''), coalesce(g.name, ''), "
        "coalesce(t.account, x''), coalesce(t.name, ''), asset, amount, memo, nonce, reference FROM movements "
        "LEFT JOIN accounts AS g ON g.number = giver LEFT JOIN accounts AS t ON t.number = taker "
        f"WHERE {' AND '.join(wanted)} ORDER BY movements.number DESC LIMIT :limit",
        {"account": account, "asset": asset, "below": below, "limit": limit},
    )
    return [
        rows.MovementRow(
            *(number, height, time_s, What(what).name.lower()),
            *(giver.hex(), gives, taker.hex(), takes),
            *(code, amount, memo.hex(), nonce, reference),
        )
        for number, height, time_s, what, giver, gives, taker, takes, code, amount, memo, nonce, reference in found
    ]


def pairs(db: sqlite3.Connection, account: bytes | None, from_s: int, to_s: int, limit: int) -> list[rows.PairRow]:
    """Pairs of the periods that begin in [from_s, to_s), in order of period, account and entry."""
    where = "" if account is None else "AND accounts.account = :account "
    found = db.execute(
        "SELECT pair_id, start_s, accounts.account, name, entry, height, import_wh, export_wh, produced_wh, amount_u, "
        "paid_u, minted FROM pairs JOIN accounts ON number = pairs.account "
        f"WHERE start_s >= :low AND start_s < :high {where}"
        "ORDER BY start_s, accounts.account, entry LIMIT :limit",
        {"account": account, "low": from_s, "high": to_s, "limit": limit},
    )
    names = rows.PairRow.__struct_fields__
    return [
        rows.PairRow(
            **dict(zip(names, (pair_id.hex(), start_s, owner.hex(), *facts, msgspec.json.decode(minted)), strict=True))
        )
        for pair_id, start_s, owner, *facts, minted in found
    ]


def note(db: sqlite3.Connection, record_id: bytes) -> Note:
    """What stands beside an accepted wish for money or a sale."""
    place = place_of_record(db, record_id)
    row = db.execute("SELECT memo, nonce, reference FROM notes WHERE place = ?", (place,)).fetchone()
    return NO_NOTE if row is None else (row[0], row[1], row[2])


def contracts(db: sqlite3.Connection, account: bytes | None, below: int, limit: int) -> list[rows.ContractRow]:
    """Contracts that were offered in blocks under a height, newest first."""
    where = "" if account is None else "AND (o.account = :account OR t.account = :account) "
    found = db.execute(
        "SELECT contracts.place, record_id, o.name, t.name, status, until_s, summary FROM contracts "
        "JOIN records ON records.place = contracts.place JOIN accounts AS o ON o.number = offered_by "
        f"JOIN accounts AS t ON t.number = offered_to WHERE contracts.place < :below {where}"
        "ORDER BY contracts.place DESC LIMIT :limit",
        {"account": account, "below": place_of(below, 0), "limit": limit},
    )
    answer = []
    for place, contract, offered_by, offered_to, status, until_s, summary in found:
        step = msgspec.json.decode(summary)["step"]["offer"]
        agreed = (step["role"], step["service"], step["terms"], step["from_s"])
        ends = (offered_by, offered_to)
        answer.append(rows.ContractRow(contract.hex(), height_of(place), *ends, *agreed, until_s, STATUSES[status]))
    return answer
