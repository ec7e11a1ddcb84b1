"""Rows: what the views answer with, one frozen Struct a kind of row.

Ids are lower-case hex, because these rows go to screens and to JSON as they are.
Energies are Wh, money micro-units of the currency (u), times UTC seconds of the microgrid.
"""

from __future__ import annotations

from typing import Any

import msgspec

from meshnode.settlement import Sources


class BlockRow(msgspec.Struct, frozen=True):
    """A final block. leader: name of the member whose node led it; accepted: records that took effect."""

    height: int
    block_hash: str
    time_s: int
    term: int
    leader: str
    leader_key: str
    records: int
    accepted: int
    size_bytes: int


class RecordRow(msgspec.Struct, frozen=True):
    """A record of a final block, with the ledger's verdict (`meshnode.ledger.verdicts`).

    summary: its fields as JSON values; byte strings too long to show stand as {"bytes", "sha256"}.
    """

    record_id: str
    height: int
    position: int
    kind: str
    account: str
    name: str
    verdict: int
    summary: dict[str, Any]


class ReadingRow(msgspec.Struct, frozen=True):
    """The newest reading of a meter for one period: registers at its end, and what the period added.

    period_import_wh, period_export_wh: rise over the period; None if the reading before it is missing.
    """

    meter: str
    account: str
    name: str
    start_s: int
    import_wh: int
    export_wh: int
    produced_wh: int | None
    power_w: int | None
    version: int
    quality: int
    period_import_wh: int | None
    period_export_wh: int | None


class PeriodRow(Sources, frozen=True):
    """A closed settlement period, with the sums over its lines.

    price_u_kwh: what the orders cleared at, None without trades. final: no correction can
    follow. estimated: lines that rest on an estimate. traded_wh: energy of the trades,
    delivered or not.
    """

    start_s: int
    length_s: int
    height: int
    price_u_kwh: int | None
    completeness_ppm: int
    estimated: int
    final: bool
    corrections: int
    traded_wh: int


class LineRow(Sources, frozen=True):
    """One member's period, as it stands after all corrections.

    quality: 1 estimated, 2 corrected, 3 measured.
    """

    start_s: int
    account: str
    name: str
    in_u: int
    out_u: int
    import_wh: int
    export_wh: int
    produced_wh: int | None
    quality: int
    final: bool


class DayRow(Sources, frozen=True):
    """The sums over a member's lines between two times; periods: how many of them."""

    periods: int
    in_u: int
    out_u: int
    estimated: int


class TradeRow(msgspec.Struct, frozen=True):
    """A trade of a closed period. delivered_wh: what the meters confirm of it."""

    start_s: int
    number: int
    buyer: str
    buyer_name: str
    seller: str
    seller_name: str
    energy_wh: int
    delivered_wh: int
    price_u_kwh: int
    buy_order: str
    sell_order: str


class OrderRow(msgspec.Struct, frozen=True):
    """An accepted order. side: "buy" or "sell"; state: "open", "cancelled" or "closed" (its period is settled)."""

    order_id: str
    account: str
    name: str
    height: int
    side: str
    start_s: int
    energy_wh: int
    filled_wh: int
    price_u_kwh: int
    state: str


class PostingRow(msgspec.Struct, frozen=True):
    """An amount that left one account and reached another.

    number: counts all postings of the ledger from 1. reason and entry: names of
    `meshnode.settlement.Reason` and `Entry`, in lower case. trade: number of the trade of
    that period that it belongs to, if any.
    """

    number: int
    start_s: int
    height: int
    debit: str
    debit_name: str
    credit: str
    credit_name: str
    asset: str
    amount_u: int
    energy_wh: int
    price_u_kwh: int
    reason: str
    entry: str
    trade: int | None


class MovementRow(msgspec.Struct, frozen=True):
    """Units of an asset that went from one account to another; ends that there are none of are empty.

    number: counts all movements from 1. what: name of `meshnode.ledger.movements.What`, in lower case.
    memo: as the record carries it, in hex; nonce: of that record.
    """

    number: int
    height: int
    time_s: int
    what: str
    giver: str
    giver_name: str
    taker: str
    taker_name: str
    asset: str
    amount: int
    memo: str
    nonce: int
    reference: str


class PairRow(msgspec.Struct, frozen=True):
    """Measurement and payment of an account in a period (`meshnode.ledger.rows.Pair`); minted: units by asset."""

    pair_id: str
    start_s: int
    account: str
    name: str
    entry: int
    height: int
    import_wh: int
    export_wh: int
    produced_wh: int
    amount_u: int
    paid_u: int
    minted: dict[str, int]


class BillingRow(msgspec.Struct, frozen=True):
    """An account's billing period that has ended (`meshnode.settlement.compensation.Compensation`).

    entry: how often it was corrected. lost_u: surplus beyond what the bought energy cost. incentive_u: received for
    energy shared within hours. final: no correction can follow.
    """

    billing_id: str
    first_s: int
    until_s: int
    account: str
    name: str
    entry: int
    height: int
    bought_wh: int
    bought_u: int
    surplus_wh: int
    surplus_u: int
    compensated_u: int
    lost_u: int
    incentive_u: int
    final: bool


class SharedHourRow(msgspec.Struct, frozen=True):
    """An hour behind a substation, and what its incentive brought to whom, by name."""

    hour_s: int
    substation: str
    injected_wh: int
    withdrawn_wh: int
    shared_wh: int
    incentive_u: int
    parts: dict[str, int]


class ContractRow(msgspec.Struct, frozen=True):
    """A contract. status: "offered", "signed" or "ended"; service: what its offer says of it, as JSON values."""

    contract: str
    height: int
    offered_by: str
    offered_to: str
    role: str
    service: dict[str, Any]
    terms: str
    from_s: int
    until_s: int
    status: str


class CertificateRow(msgspec.Struct, frozen=True):
    """Certificates that were issued, transferred, retired or lapsed. ranges: see `/api/certificates`."""

    number: int
    height: int
    time_s: int
    change: str
    owner: str
    taker: str
    wh: int
    purpose: str
    ranges: list[dict[str, object]]
