"""Writing: what a block's events change in the tables. One function an event or record."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshnode.execution.floor import OrderGone
from meshnode.ledger.certificates import CertificatesMoved
from meshnode.ledger.findings import FoundOut
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.rows import CONTRACT_ENDED, CONTRACT_OFFERED, CONTRACT_SIGNED
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Ended, Event, MarketDone, RecordDone
from meshnode.settlement import GRID_ACCOUNT, POOL_ACCOUNT, Metered, Posting, Reason, Settlement, Sources, fund_account
from meshnode.settlement.billing_periods import BillingFinal, BillingPosted, HourShared
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected, PeriodFinal
from meshnode.settlement.pairs import PairWritten
from meshnode.settlement.restoring import Taken
from meshnode.settlement.storing import FeeCharged
from meshnode.views import billing, origin
from meshnode.views.schema import CANCELLED, CLOSED, COUNTED, OPEN, place_of
from protocols.block import Block
from protocols.cose import key_id_of
from protocols.records import (
    Amend,
    Cancel,
    Cash,
    CashAsk,
    CashSell,
    Contract,
    ContractEnd,
    ContractOffer,
    ContractSign,
    Genesis,
    Join,
    KeyChange,
    Leave,
    MemberEntry,
    Order,
    Reading,
    Record,
    account_id_of,
    keys_of,
)
from protocols.records.jsonform import to_json
from zencode.binding import decode
from zencode.terms import terms

# Text of a summary longer than this stands as its size and hash: nobody reads 64 KiB of a
# binding's tree in a list of records, and the record itself is on the ledger.
MAX_SUMMARY_TEXT = 256
# What a summary shows of a list; proofs and signatures come in dozens.
MAX_SUMMARY_ITEMS = 16


def found(db: sqlite3.Connection, genesis: Genesis) -> None:
    """Begin the counts; enter the founders, the grid, and the funds that the binding names."""
    for table in COUNTED:
        _insert(db, "counts", (table, 0))
    for entry in genesis.members:
        _enter_member(db, entry)
    for account, name in ((GRID_ACCOUNT, "grid"), (POOL_ACCOUNT, "pool"), *_funds(genesis)):
        _enter_account(db, account, name)


def write_block(db: sqlite3.Connection, block: Block, events: tuple[Event, ...]) -> None:
    """Enter one block with what it did; the caller holds the transaction."""
    head = block.header
    done = [event for event in events if isinstance(event, RecordDone)]
    accepted = sum(event.verdict == Verdict.ACCEPTED for event in done)
    values = (head.height, block.block_hash, head.time_s, head.term, block.leader)
    _insert(db, "blocks", (*values, len(block.records), accepted, len(block.encoded)))
    for event in events:
        # Who was found out, what is held, what stands, and what is delivered, is asked from the state itself.
        if isinstance(event, OrderGone) or not isinstance(event, FoundOut | Ended | MarketDone | Taken | FeeCharged):
            _EVENTS[type(event)](db, head.height, head.time_s, event)


def _record_done(db: sqlite3.Connection, height: int, time_s: int, event: RecordDone) -> None:
    place = place_of(height, event.position)
    account = number_of(db, event.account) if event.account else None
    # A reading's values have a table of their own, and readings are nearly all there is.
    kept = {} if isinstance(event.record, Reading) and event.verdict == Verdict.ACCEPTED else _summary(event.record)
    kind = type(event.record).__name__
    _insert(db, "records", (place, event.record_id, kind, account, int(event.verdict), msgspec.json.encode(kept)))
    effect = _EFFECTS.get(type(event.record))
    if effect is not None and event.verdict == Verdict.ACCEPTED:
        effect(db, place, time_s, account, event.record)


def _summary(record: Record) -> dict[str, Any]:
    return {name: _short(value) for name, value in to_json(record).items()}


def _short(value: Any) -> Any:
    match value:
        case str() if len(value) > MAX_SUMMARY_TEXT:
            return {"bytes": len(value) // 2, "sha256": hashlib.sha256(bytes.fromhex(value)).hexdigest()}
        case list():
            return [_short(item) for item in value[:MAX_SUMMARY_ITEMS]]
        case dict():
            return {name: _short(item) for name, item in value.items()}
        case _:
            return value


# --- effects of accepted records


def _reading(db: sqlite3.Connection, _place: int, _time_s: int, account: int, record: Reading) -> None:
    values = record.values
    registers = (values.import_wh, values.export_wh, values.produced_wh, values.power_w)
    place = (record.meter, record.period_start_s)
    if db.execute("SELECT 1 FROM readings WHERE meter = ? AND start_s = ?", place).fetchone() is None:
        _count(db, "readings", 1)
    row = (*place, account, *registers, record.version, record.quality)
    _insert(db, "readings", row, replace=True)


def _order(db: sqlite3.Connection, place: int, _time_s: int, account: int, record: Order) -> None:
    if record.standing is not None:
        # What stands is asked from the state itself, what was traded stands among the movements.
        return
    wish = (record.side, record.period_start_s, record.energy_wh, record.price_u_kwh)
    _insert(db, "orders", (place, account, *wish, 0, OPEN))
    _count(db, "orders", 1)


def _amend(db: sqlite3.Connection, _place: int, _time_s: int, _account: int, record: Amend) -> None:
    """An order of a period is another one now; those of assets are asked from the state."""
    wish = (record.energy_wh, record.price_u_kwh, place_of_record(db, record.order))
    db.execute("UPDATE orders SET energy_wh = ?, price_u_kwh = ? WHERE place = ?", wish)


def _cancel(db: sqlite3.Connection, _place: int, _time_s: int, _account: int, record: Cancel) -> None:
    place = place_of_record(db, record.order)
    db.execute("UPDATE orders SET state = ? WHERE place = ?", (CANCELLED, place))


def _join(db: sqlite3.Connection, _place: int, _time_s: int, _account: int, record: Join) -> None:
    _enter_member(db, record.member)


def _leave(db: sqlite3.Connection, _place: int, time_s: int, _account: int, record: Leave) -> None:
    db.execute("UPDATE accounts SET left_s = ? WHERE account = ?", (time_s, record.account))


def _change_key(db: sqlite3.Connection, _place: int, _time_s: int, account: int, record: KeyChange) -> None:
    if record.new_key is not None:
        _insert(db, "keys", (key_id_of(record.new_key), account))


def _contract(db: sqlite3.Connection, place: int, time_s: int, account: int, record: Contract) -> None:
    match record.step:
        case ContractOffer() as step:
            parties = (account, number_of(db, step.to))
            _insert(db, "contracts", (place, *parties, CONTRACT_OFFERED, step.until_s))
        case ContractSign() as step:
            offered = place_of_record(db, step.contract)
            db.execute("UPDATE contracts SET status = ? WHERE place = ?", (CONTRACT_SIGNED, offered))
        case ContractEnd() as step:
            offered = place_of_record(db, step.contract)
            db.execute(
                "UPDATE contracts SET status = ?, until_s = ? WHERE place = ?", (CONTRACT_ENDED, time_s, offered)
            )


def _cash(db: sqlite3.Connection, place: int, _time_s: int, _account: int, record: Cash) -> None:
    """What stands beside a wish or a sale while it is open."""
    match record.step:
        case CashAsk() as step:
            _insert(db, "notes", (place, step.memo, record.nonce, ""))
        case CashSell() as step:
            _insert(db, "notes", (place, b"", record.nonce, step.reference or ""))


_EFFECTS: dict[type[Record], Callable[..., None]] = {
    Reading: _reading,
    Order: _order,
    Amend: _amend,
    Cancel: _cancel,
    Join: _join,
    Leave: _leave,
    KeyChange: _change_key,
    Contract: _contract,
    Cash: _cash,
}


# --- periods


def _closed(db: sqlite3.Connection, height: int, time_s: int, event: PeriodClosed) -> None:
    start, settlement = event.start_s, event.settlement
    traded_wh = sum(trade.energy_wh for trade in event.trades)
    _insert(
        db,
        "periods",
        (start, event.length_s, height, event.price_u_kwh, settlement.completeness_ppm, 0, 0, traded_wh),
    )
    for number, trade in enumerate(event.trades):
        partners = (number_of(db, trade.buyer), number_of(db, trade.seller))
        orders = (trade.buy_order, trade.sell_order)
        _insert(db, "trades", (start, number, *partners, trade.energy_wh, 0, trade.price_u_kwh, *orders))
    _count(db, "trades", len(event.trades))
    for order_id, _, traded in event.fills:
        place = place_of_record(db, order_id)
        db.execute("UPDATE orders SET filled_wh = ? WHERE place = ?", (traded, place))
    db.execute("UPDATE orders SET state = ? WHERE state = ? AND start_s = ?", (CLOSED, OPEN, start))
    _settled(db, height, start, settlement, event.metered, settlement.postings)
    _paired(db, height, time_s, start, event.pairs)


def _corrected(db: sqlite3.Connection, height: int, time_s: int, event: PeriodCorrected) -> None:
    db.execute(
        "UPDATE periods SET completeness_ppm = ?, corrections = corrections + 1 WHERE start_s = ?",
        (event.settlement.completeness_ppm, event.start_s),
    )
    _settled(db, height, event.start_s, event.settlement, event.metered, event.postings)
    _paired(db, height, time_s, event.start_s, event.pairs)


def _final(db: sqlite3.Connection, height: int, time_s: int, event: PeriodFinal) -> None:
    db.execute("UPDATE periods SET final = 1 WHERE start_s = ?", (event.start_s,))
    if event.origin is not None:
        origin.enter(db, event.start_s, event.origin.traced, number_of)
        for moved in event.origin.moved:
            _certified(db, height, time_s, moved)


def _certified(db: sqlite3.Connection, height: int, time_s: int, event: CertificatesMoved) -> None:
    taker = number_of(db, event.taker) if event.taker else None
    row = (int(event.change), number_of(db, event.owner), taker, event.wh, event.purpose)
    _insert(db, "certificates", (None, height, time_s, *row, origin.packed_ranges(event)))


def _settled(
    db: sqlite3.Connection,
    height: int,
    start: int,
    settlement: Settlement,
    metered: tuple[Metered, ...],
    postings: Iterable[Posting],
) -> None:
    """Lines as they are now, and the postings that are new."""
    meters = {entry.account: entry for entry in metered}
    for line in settlement.lines:
        meter = meters[line.account]
        energy = (getattr(line, name) for name in Sources.__struct_fields__)
        registers = (meter.import_wh, meter.export_wh, meter.produced_wh)
        money = (line.in_u, line.out_u)
        row = (start, number_of(db, line.account), *energy, *money, *registers, int(line.quality))
        _insert(db, "lines", row, replace=True)
    trades = _trades_of(db, start)
    _deliver(db, start, settlement.postings, trades)
    _enter_postings(db, height, start, postings, trades)


def _bill_posted(db: sqlite3.Connection, height: int, _time_s: int, event: BillingPosted) -> None:
    """Its postings stand with those of its last settlement period."""
    billing.enter(db, height, event, number_of)
    _enter_postings(db, height, event.last_s, event.postings, {})


def _bill_final(db: sqlite3.Connection, _height: int, _time_s: int, event: BillingFinal) -> None:
    billing.finish(db, event)


def _hour_shared(db: sqlite3.Connection, _height: int, _time_s: int, event: HourShared) -> None:
    billing.enter_hour(db, event, number_of)


def _enter_postings(
    db: sqlite3.Connection,
    height: int,
    start: int,
    postings: Iterable[Posting],
    trades: dict[tuple[bytes, ...], list[int]],
) -> None:
    for posting in postings:
        _insert(
            db,
            "postings",
            (
                *(None, start, height, number_of(db, posting.debit), number_of(db, posting.credit)),
                *(posting.asset.decode(), posting.amount_u, posting.energy_wh, posting.price_u_kwh),
                *(int(posting.reason), int(posting.entry), trades.get(posting.orders, (None,))[0]),
            ),
        )


def _trades_of(db: sqlite3.Connection, start: int) -> dict[tuple[bytes, ...], list[int]]:
    """Numbers of a period's trades by their two orders, as they are delivered."""
    trades: dict[tuple[bytes, ...], list[int]] = {}
    for number, buy, sell in db.execute(
        "SELECT number, buy_order, sell_order FROM trades WHERE start_s = ? ORDER BY number", (start,)
    ):
        trades.setdefault((buy, sell), []).append(number)
    return trades


def _deliver(
    db: sqlite3.Connection, start: int, postings: Iterable[Posting], trades: dict[tuple[bytes, ...], list[int]]
) -> None:
    """Write what was delivered of each trade; postings of one pair of orders come as its trades do."""
    db.execute("UPDATE trades SET delivered_wh = 0 WHERE start_s = ?", (start,))
    waiting = {orders: list(numbers) for orders, numbers in trades.items()}
    for posting in postings:
        if posting.reason is Reason.TRADE:
            number = waiting[posting.orders].pop(0)
            db.execute(
                "UPDATE trades SET delivered_wh = ? WHERE start_s = ? AND number = ?",
                (posting.energy_wh, start, number),
            )


# --- movements


def _moved(db: sqlite3.Connection, height: int, time_s: int, event: Moved) -> None:
    ends = [number_of(db, account) if account else None for account in (event.giver, event.taker)]
    facts = (event.asset, event.amount, event.memo, event.nonce, event.reference)
    _insert(db, "movements", (None, height, time_s, int(event.what), *ends, *facts))


def _paired(db: sqlite3.Connection, height: int, time_s: int, start: int, pairs: tuple[PairWritten, ...]) -> None:
    """Pairs of a period, and what they moved."""
    for written in pairs:
        pair, account = written.pair, written.account
        legs = (pair.import_wh, pair.export_wh, pair.produced_wh, pair.amount_u, pair.paid_u)
        minted = msgspec.json.encode({one.asset: one.units for one in written.minted})
        _insert(db, "pairs", (start, number_of(db, account), written.entry, height, pair.pair_id, *legs, minted))
        changes = [(What.METERED, one.asset, one.units) for one in written.minted]
        changes += [(What.SETTLED, written.settling, pair.paid_u)] if pair.paid_u else []
        for what, asset, amount in changes:
            giver, taker = (b"", account) if amount > 0 else (account, b"")
            _moved(db, height, time_s, Moved(what, giver, taker, asset, abs(amount)))


def _gone(db: sqlite3.Connection, _height: int, _time_s: int, event: OrderGone) -> None:
    """An order of a period left the book without its owner's doing; those of assets are asked from the state."""
    place = place_of_record(db, event.order_id)
    db.execute("UPDATE orders SET state = ? WHERE place = ? AND state = ?", (CANCELLED, place, OPEN))


_EVENTS: dict[type[Any], Callable[..., None]] = {
    RecordDone: _record_done,
    OrderGone: _gone,
    CertificatesMoved: _certified,
    Moved: _moved,
    PeriodClosed: _closed,
    PeriodCorrected: _corrected,
    PeriodFinal: _final,
    BillingPosted: _bill_posted,
    BillingFinal: _bill_final,
    HourShared: _hour_shared,
}


# --- accounts, ids, rows


def number_of(db: sqlite3.Connection, account: bytes) -> int:
    """The number of an account, which is given now if it has none (a fund of a later binding)."""
    row = db.execute("SELECT number FROM accounts WHERE account = ?", (account,)).fetchone()
    return row[0] if row else _enter_account(db, account, "")


def place_of_record(db: sqlite3.Connection, record_id: bytes) -> int | None:
    """Where a record stands first; None if it is in no block."""
    row = db.execute(
        "SELECT place FROM records WHERE substr(record_id, 1, 8) = substr(?1, 1, 8) AND record_id = ?1 "
        "ORDER BY place LIMIT 1",
        (record_id,),
    ).fetchone()
    return None if row is None else int(row[0])


def _enter_member(db: sqlite3.Connection, entry: MemberEntry) -> None:
    number = _enter_account(db, account_id_of(entry.member_key), entry.name)
    for key in keys_of(entry):
        _insert(db, "keys", (key_id_of(key), number))


def _enter_account(db: sqlite3.Connection, account: bytes, name: str) -> int:
    place = db.execute("INSERT INTO accounts (account, name) VALUES (?, ?)", (account, name)).lastrowid
    assert place is not None
    return place


def _funds(genesis: Genesis) -> list[tuple[bytes, str]]:
    facts = terms(decode(genesis.binding))
    names = dict.fromkeys(name for name, _ in (*facts.fee_split, *facts.member_fee_split))
    return [(fund_account(name), name) for name in names]


def _count(db: sqlite3.Connection, table: str, more: int) -> None:
    db.execute("UPDATE counts SET number = number + ? WHERE counted = ?", (more, table))


def _insert(db: sqlite3.Connection, table: str, row: tuple[Any, ...], *, replace: bool = False) -> None:
    marks = ", ".join("?" * len(row))
    db.execute(f"INSERT {'OR REPLACE ' if replace else ''}INTO {table} VALUES ({marks})", row)
