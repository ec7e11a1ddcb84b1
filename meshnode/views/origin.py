"""Origin: what views.sqlite keeps of where energy came from, packed by period and member, and of certificates."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshnode.ledger.certificates import CertificatesMoved, Change
from meshnode.origin import Lot, Share, Source, Traced
from meshnode.views import rows

Origins = list[tuple[int, int, tuple[Share, ...]]]
"""(period, carrier, shares of a member), in order of period and carrier."""


def enter(
    db: sqlite3.Connection,
    start_s: int,
    traced: Iterable[Traced],
    number_of: Callable[[sqlite3.Connection, bytes], int],
) -> None:
    """Keep the shares of a period that is final; what stands there already is replaced."""
    for one in traced:
        by_account: dict[bytes, list[Share]] = {}
        for share in one.shares:
            by_account.setdefault(share.account, []).append(share)
        for account, shares in by_account.items():
            row = (start_s, number_of(db, account), one.carrier, _packed(start_s, shares))
            db.execute("INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?)", row)


def of(db: sqlite3.Connection, account: bytes | None, from_s: int, to_s: int) -> Origins:
    """The shares of an account (None: of all) in final periods that begin in [from_s, to_s)."""
    where = "" if account is None else "AND accounts.account = :account "
    found = db.execute(
        "SELECT start_s, accounts.account, carrier, shares FROM origins JOIN accounts ON number = origins.account "
        f"WHERE start_s >= :low AND start_s < :high {where}ORDER BY start_s, carrier, accounts.account",
        {"account": account, "low": from_s, "high": to_s},
    )
    return [(start_s, carrier, _unpacked(start_s, owner, shares)) for start_s, owner, carrier, shares in found]


def packed_ranges(event: CertificatesMoved) -> bytes:
    """The ranges of certificates as they are shown."""
    return msgspec.json.encode([range_row(*one) for one in event.ranges])


def range_row(period_s: int, issuance: bytes, first: int, row: Any) -> dict[str, Any]:
    """A range of certificates as JSON values: `first` to `last` are the ids of its Wh in the issuance."""
    return {
        "issuance": issuance.hex(),
        "first": first,
        "last": first + row.wh - 1,
        "wh": row.wh,
        "period_start_s": period_s,
        "device": row.device.hex(),
        "source": Source(row.source).name.lower(),
        "carbon_g_kwh": row.carbon_g_kwh,
        "storage": row.storage.hex(),
    }


def certificates(db: sqlite3.Connection, account: bytes | None, below: int, limit: int) -> list[rows.CertificateRow]:
    """What became of certificates, newest first."""
    where = "" if account is None else "AND (o.account = :account OR t.account = :account) "
    found = db.execute(
        "SELECT c.number, height, time_s, change, o.name, coalesce(t.name, ''), wh, purpose, ranges "
        "FROM certificates AS c JOIN accounts AS o ON o.number = owner LEFT JOIN accounts AS t ON t.number = taker "
        f"WHERE c.number < :below {where}ORDER BY c.number DESC LIMIT :limit",
        {"account": account, "below": below, "limit": limit},
    )
    return [
        rows.CertificateRow(
            *(number, height, time_s, Change(change).name.lower()),
            *(owner, taker, wh, purpose, msgspec.json.decode(ranges)),
        )
        for number, height, time_s, change, owner, taker, wh, purpose, ranges in found
    ]


def _packed(start_s: int, shares: Iterable[Share]) -> bytes:
    """Shares as arrays. The grid's have no names; most lots were made in the period itself."""
    return msgspec.msgpack.encode(
        [
            [share.way, lot.source, lot.wh, lot.carbon_g_kwh, lot.storage]
            + ([lot.first, start_s - lot.period_s, lot.issuance, lot.device, lot.producer] if lot.issuance else [])
            for share in shares
            for lot in [share.lot]
        ]
    )


def _unpacked(start_s: int, account: bytes, packed: bytes) -> tuple[Share, ...]:
    shares = []
    for way, source, wh, carbon, storage, *named in msgspec.msgpack.decode(packed):
        first, age_s, issuance, device, producer = named or (0, 0, b"", b"", b"")
        shares.append(
            Share(account, way, Lot(issuance, device, producer, source, carbon, start_s - age_s, first, wh, storage))
        )
    return tuple(shares)
