"""Reading: the questions that screens ask of the tables, each answered by rows.

Every function takes a connection on which nothing is written, and a number of rows
that the caller has bounded.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from meshnode.settlement import Entry, Quality, Reason, Sources
from meshnode.views import rows
from meshnode.views.schema import STATES, height_of, place_of, position_of
from meshnode.views.writing import place_of_record
from protocols.records import SIDE_BUY

T = TypeVar("T")

_SUMS = Sources.__struct_fields__
_SUMMED = ", ".join(f"coalesce(sum(lines.{name}), 0)" for name in _SUMS)
_ESTIMATED = f"coalesce(sum(quality = {int(Quality.ESTIMATED)}), 0)"


def blocks(db: sqlite3.Connection, below: int, limit: int) -> list[rows.BlockRow]:
    """Blocks under a height, newest first."""
    found = db.execute(
        "SELECT height, block_hash, time_s, term, coalesce(name, ''), leader, records, accepted, size_bytes "
        "FROM blocks LEFT JOIN keys ON key_id = leader LEFT JOIN accounts ON number = keys.account "
        "WHERE height < ? ORDER BY height DESC LIMIT ?",
        (below, limit),
    )
    return [
        _row(rows.BlockRow, height, block_hash.hex(), time_s, term, name, leader.hex(), *counts)
        for height, block_hash, time_s, term, name, leader, *counts in found
    ]


def block_hash(db: sqlite3.Connection, height: int) -> bytes | None:
    """The hash of a block that is reflected here."""
    row = db.execute("SELECT block_hash FROM blocks WHERE height = ?", (height,)).fetchone()
    return None if row is None else bytes(row[0])


def verdict(db: sqlite3.Connection, record_id: bytes) -> int | None:
    """The verdict of a record where it stands first."""
    place = place_of_record(db, record_id)
    if place is None:
        return None
    return int(db.execute("SELECT verdict FROM records WHERE place = ?", (place,)).fetchone()[0])


def record(db: sqlite3.Connection, record_id: bytes) -> rows.RecordRow | None:
    """A record where it stands first."""
    place = place_of_record(db, record_id)
    if place is None:
        return None
    return _records(db, "records.place = ?", (place,))[0]


def records_of_block(db: sqlite3.Connection, height: int) -> list[rows.RecordRow]:
    """The records of one block, in their order."""
    return _records(db, "records.place >= ? AND records.place < ?", (place_of(height, 0), place_of(height + 1, 0)))


def _records(db: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> list[rows.RecordRow]:
    found = db.execute(
        "SELECT place, record_id, kind, coalesce(accounts.account, x''), coalesce(name, ''), verdict, summary "
        f"FROM records LEFT JOIN accounts ON number = records.account WHERE {where} ORDER BY place",
        values,
    )
    return [
        rows.RecordRow(
            record_id.hex(),
            height_of(place),
            position_of(place),
            kind,
            account.hex(),
            name,
            outcome,
            msgspec.json.decode(summary),
        )
        for place, record_id, kind, account, name, outcome, summary in found
    ]


def readings(db: sqlite3.Connection, meter: bytes, from_s: int, to_s: int, limit: int) -> list[rows.ReadingRow]:
    """A meter's newest readings of the periods that begin in [from_s, to_s), in order."""
    found = db.execute(
        "SELECT meter, accounts.account, name, now.start_s, import_wh, export_wh, produced_wh, power_w, version, "
        "quality, periods.length_s FROM readings AS now JOIN accounts ON number = now.account "
        "LEFT JOIN periods ON periods.start_s = now.start_s "
        "WHERE meter = ? AND now.start_s >= ? AND now.start_s < ? ORDER BY now.start_s LIMIT ?",
        (meter, from_s, to_s, limit),
    ).fetchall()
    answer = []
    for meter_id, account, name, start_s, import_wh, export_wh, *rest, length_s in found:
        before = db.execute(
            "SELECT import_wh, export_wh FROM readings WHERE meter = ? AND start_s = ?",
            (meter, start_s - (length_s or 0)),
        ).fetchone()
        rise = (import_wh - before[0], export_wh - before[1]) if before and length_s else (None, None)
        answer.append(
            _row(rows.ReadingRow, meter_id.hex(), account.hex(), name, start_s, import_wh, export_wh, *rest, *rise)
        )
    return answer


def periods(db: sqlite3.Connection, from_s: int, to_s: int, limit: int, *, newest: bool) -> list[rows.PeriodRow]:
    """Closed periods that begin in [from_s, to_s), in order; of too many the newest or the oldest."""
    found = db.execute(
        f"SELECT {_SUMMED}, periods.start_s, length_s, height, price_u_kwh, completeness_ppm, {_ESTIMATED}, "
        "final, corrections, traded_wh "
        "FROM (SELECT * FROM periods WHERE start_s >= ? AND start_s < ? "
        f"ORDER BY start_s {'DESC' if newest else 'ASC'} LIMIT ?) AS periods "
        "LEFT JOIN lines ON lines.start_s = periods.start_s GROUP BY periods.start_s ORDER BY periods.start_s",
        (from_s, to_s, limit),
    )
    return [_row(rows.PeriodRow, *row[:-3], bool(row[-3]), *row[-2:]) for row in found]


def lines(
    db: sqlite3.Connection, account: bytes | None, from_s: int, to_s: int, limit: int, skip: int
) -> list[rows.LineRow]:
    """Lines of one account, or of all, in order of period and account id."""
    where = "" if account is None else "AND accounts.account = :account "
    found = db.execute(
        f"SELECT {', '.join(_SUMS)}, lines.start_s, accounts.account, name, in_u, out_u, import_wh, export_wh, "
        "produced_wh, quality, final FROM lines JOIN accounts ON number = lines.account "
        f"JOIN periods ON periods.start_s = lines.start_s WHERE lines.start_s >= :low AND lines.start_s < :high {where}"
        "ORDER BY lines.start_s, accounts.account LIMIT :limit OFFSET :skip",
        {"account": account, "low": from_s, "high": to_s, "limit": limit, "skip": skip},
    )
    answer = []
    for row in found:
        energy, (start_s, owner, *facts, final) = row[: len(_SUMS)], row[len(_SUMS) :]
        answer.append(_row(rows.LineRow, *energy, start_s, owner.hex(), *facts, bool(final)))
    return answer


def day(db: sqlite3.Connection, account: bytes | None, from_s: int, to_s: int) -> rows.DayRow:
    """The sums over an account's lines, or over everybody's."""
    where = "" if account is None else "AND account = (SELECT number FROM accounts WHERE account = :account)"
    row = db.execute(
        f"SELECT {_SUMMED}, count(DISTINCT start_s), coalesce(sum(in_u), 0), coalesce(sum(out_u), 0), "
        f"{_ESTIMATED} FROM lines WHERE start_s >= :low AND start_s < :high {where}",
        {"account": account, "low": from_s, "high": to_s},
    ).fetchone()
    return rows.DayRow(*row)


def trades(db: sqlite3.Connection, account: bytes | None, before_s: int, limit: int, skip: int) -> list[rows.TradeRow]:
    """Trades of periods that begin before a time, newest period first, within it as they were delivered."""
    where = "" if account is None else "AND (b.account = :account OR s.account = :account) "
    found = db.execute(
        "SELECT start_s, trades.number, b.account, b.name, s.account, s.name, energy_wh, delivered_wh, price_u_kwh, "
        "buy_order, sell_order FROM trades JOIN accounts AS b ON b.number = buyer "
        f"JOIN accounts AS s ON s.number = seller WHERE start_s < :before {where}"
        "ORDER BY start_s DESC, trades.number LIMIT :limit OFFSET :skip",
        {"account": account, "before": before_s, "limit": limit, "skip": skip},
    )
    return [
        _row(rows.TradeRow, start, number, buyer.hex(), buys, seller.hex(), sells, *amounts, buy.hex(), sell.hex())
        for start, number, buyer, buys, seller, sells, *amounts, buy, sell in found
    ]


def orders(
    db: sqlite3.Connection, account: bytes | None, only_open: bool, below: int, limit: int, skip: int
) -> list[rows.OrderRow]:
    """Orders under a height, newest first."""
    where = ("AND accounts.account = :account " if account is not None else "") + (
        "AND state = 0 " if only_open else ""
    )
    found = db.execute(
        "SELECT orders.place, record_id, accounts.account, name, side, start_s, energy_wh, filled_wh, price_u_kwh, "
        "state FROM orders JOIN records ON records.place = orders.place JOIN accounts ON number = orders.account "
        f"WHERE orders.place < :below {where}ORDER BY orders.place DESC LIMIT :limit OFFSET :skip",
        {"account": account, "below": place_of(below, 0), "limit": limit, "skip": skip},
    )
    return [
        _row(
            rows.OrderRow,
            order_id.hex(),
            owner.hex(),
            name,
            height_of(place),
            "buy" if side == SIDE_BUY else "sell",
            *amounts,
            STATES[state],
        )
        for place, order_id, owner, name, side, *amounts, state in found
    ]


def postings(
    db: sqlite3.Connection, account: bytes | None, start_s: int | None, below: int, limit: int
) -> list[rows.PostingRow]:
    """Postings with a number under `below`, newest first."""
    wanted = [
        "postings.number < :below",
        *(["(debit = :mine OR credit = :mine)"] if account is not None else []),
        *(["start_s = :start"] if start_s is not None else []),
    ]
    mine = None
    if account is not None:
        row = db.execute("SELECT number FROM accounts WHERE account = ?", (account,)).fetchone()
        mine = row[0] if row else -1
    found = db.execute(
        "SELECT postings.number, start_s, height, d.account, d.name, c.account, c.name, reason, entry, trade, "
        "asset, amount_u, energy_wh, price_u_kwh FROM postings JOIN accounts AS d ON d.number = debit "
        "JOIN accounts AS c ON c.number = credit "
        f"WHERE {' AND '.join(wanted)} ORDER BY postings.number DESC LIMIT :limit",
        {"mine": mine, "start": start_s, "below": below, "limit": limit},
    )
    return [
        _row(
            rows.PostingRow,
            *(number, start, height, debit.hex(), payer, credit.hex(), receiver),
            *(*amounts, Reason(reason).name.lower(), Entry(entry).name.lower(), trade),
        )
        for number, start, height, debit, payer, credit, receiver, reason, entry, trade, *amounts in found
    ]


def report(db: sqlite3.Connection, limit: int) -> dict[str, Any]:
    """The newest periods in order, each with every member's sources and money, by name; and counts."""
    found = db.execute(
        "SELECT lines.start_s, name, own_wh, neighbours_wh, grid_wh, consumption_wh, in_u, out_u "
        "FROM lines JOIN accounts ON number = lines.account "
        "WHERE lines.start_s IN (SELECT start_s FROM periods ORDER BY start_s DESC LIMIT ?) "
        "ORDER BY lines.start_s, name",
        (limit,),
    )
    fields = ("own_wh", "neighbours_wh", "grid_wh", "consumption_wh", "in_u", "out_u")
    answer: dict[int, dict[str, Any]] = {}
    for start_s, name, *values in found:
        answer.setdefault(start_s, {})[name] = dict(zip(fields, values, strict=True))
    columns = ", ".join(_PERIOD_FACTS)
    periods = db.execute(f"SELECT start_s, {columns} FROM periods ORDER BY start_s DESC LIMIT ?", (limit,))
    facts = {start_s: values for start_s, *values in periods}
    return {
        "periods": [
            {"period": start_s, **dict(zip(_PERIOD_FACTS, facts[start_s], strict=True)), "members": members}
            for start_s, members in answer.items()
        ],
        **dict(db.execute("SELECT counted, number FROM counts")),
    }


_PERIOD_FACTS = ("corrections", "completeness_ppm", "price_u_kwh")


def _row(make: Callable[..., T], *values: Any) -> T:
    """A row of what a query gave: SQLite's types are known to nobody but the schema."""
    return make(*values)
