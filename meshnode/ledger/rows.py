"""Rows: what each table of the state holds. Only integers, bytes, text and tuples of them.

Those that there are ten thousands of are unknown to the garbage collector (`gc=False`), which saves its time and
16 bytes each: rows hold nothing that could refer back to them.
"""

from __future__ import annotations

import msgspec

from meshnode.ledger.order_rows import NO_PRICE, NOBODY

PURPOSE_MEMBER = 0
PURPOSE_DEVICE = 1
PURPOSE_METER = 2

# A lie is proved; or a node must say why it forgot a block; or it has said so.
FINDING_PROVED = 0
FINDING_ASKED = 1
FINDING_ANSWERED = 2

# A period is provisional until the binding's correction deadline has passed.
PERIOD_PROVISIONAL = 0
PERIOD_FINAL = 1


class Meta(msgspec.Struct, frozen=True):
    """Where the ledger stands (one row, key 0).

    next_period_s: start of the oldest period that is not closed.
    next_final_s: start of the oldest period that may still be corrected.
    """

    height: int
    time_s: int
    next_period_s: int
    next_final_s: int


class Account(msgspec.Struct, frozen=True):
    """A member. left_s is 0 while it belongs to the community."""

    name: str
    roles: tuple[str, ...]
    joined_s: int
    left_s: int = 0


class NameOf(msgspec.Struct, frozen=True):
    """Which account a name means; names are never given twice."""

    account: bytes


class Key(msgspec.Struct, frozen=True):
    """A key that may sign, from one height on to another (0: no end)."""

    public_key: bytes
    purpose: int
    account: bytes
    meter: bytes
    from_height: int
    until_height: int = 0


class Meter(msgspec.Struct, frozen=True):
    """A meter; it counts in periods that begin in [from_s, until_s) (0: no end).

    first_s, last_s: the oldest and the newest period with known registers
    (-1: none yet); they bound every search for a neighbouring reading.
    """

    account: bytes
    metering_point: str
    from_s: int
    until_s: int = 0
    first_s: int = -1
    last_s: int = -1


class Nonce(msgspec.Struct, frozen=True, gc=False):
    """A (key, nonce) that was used, kept until the record would be void anyway."""

    record_id: bytes
    valid_until_s: int
    height: int


class Asset(msgspec.Struct, frozen=True):
    """An asset. kind: 0 money, 1 energy, 2 utility."""

    issuer: bytes
    kind: int
    cap: int
    supply: int


class Balance(msgspec.Struct, frozen=True):
    """How much of an asset an account has: free to use, and held for something open."""

    free: int
    held: int


class OpenOrder(msgspec.Struct, frozen=True):
    """An order of a period that is not closed; its table key (period, height, position) is its priority.

    partner, partner_price_u_kwh: who it serves first, at which limit; NOBODY and NO_PRICE without one.
    """

    record_id: bytes
    account: bytes
    side: int
    energy_wh: int
    price_u_kwh: int
    binding: bytes
    partner: bytes = NOBODY
    partner_price_u_kwh: int = NO_PRICE


class OrderCount(msgspec.Struct, frozen=True):
    """How many open orders an account has in a period; of no account: how many there are at all."""

    orders: int


class OrderPlace(msgspec.Struct, frozen=True):
    """Where an open order stands in the table of orders."""

    period_start_s: int
    height: int
    position: int


class Registers(msgspec.Struct, frozen=True, gc=False):
    """A meter's registers at the end of a period, as the newest version says. produced_wh: -1 if not metered."""

    import_wh: int
    export_wh: int
    produced_wh: int
    version: int
    quality: int
    record_id: bytes


class PeriodEnergy(msgspec.Struct, frozen=True, gc=False):
    """What a closed period was settled with, for one account. produced_wh: -1 if not metered."""

    import_wh: int
    export_wh: int
    produced_wh: int
    quality: int


class PeriodTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade of a closed period, in the order in which they are delivered."""

    buyer: bytes
    seller: bytes
    buy_order: bytes
    sell_order: bytes
    energy_wh: int
    price_u_kwh: int


class Period(msgspec.Struct, frozen=True):
    """A closed period."""

    length_s: int
    status: int
    completeness_ppm: int
    corrections: int
    binding: bytes


class Claim(msgspec.Struct, frozen=True):
    """What the community owes an account (positive) or it owes (negative), in micro-units of the currency.

    All claims, the grid's among them, sum to zero.
    """

    amount_u: int


class BindingTree(msgspec.Struct, frozen=True):
    """A binding by its hash, as the canonical bytes of its tree."""

    tree: bytes


class Scheduled(msgspec.Struct, frozen=True):
    """The binding in force for periods that begin at the key or later."""

    binding: bytes


class NodeSupport(msgspec.Struct, frozen=True):
    """What a node declared that it can execute."""

    catalogue: int
    mechanisms: tuple[tuple[str, int], ...]


class Quorum(msgspec.Struct, frozen=True, cache_hash=True):
    """A quorum configuration; the table's key is the height of the block that decided it (0: the genesis).

    voters: (device key, epoch), ascending by key.
    from_height: the first height that is agreed on by it; 0 while it is decided but not in force.
    """

    mode: int
    voters: tuple[tuple[bytes, int], ...]
    from_height: int = 0


class Seat(msgspec.Struct, frozen=True):
    """A device that validates or ever did; its number among them never changes.

    epoch: its newest session, raised whenever it is removed and added again.
    """

    number: int
    epoch: int


class Finding(msgspec.Struct, frozen=True):
    """What is known of a validator's lie; the table's key is (accused, kind of evidence, term).

    about_height: of the block that it is about; height: of the block that carries the evidence.
    """

    status: int
    about_height: int
    record_id: bytes
    height: int


class AssetRules(msgspec.Struct, frozen=True):
    """What an asset allows beyond the usual; an asset without a row is minted by its issuer and burned by owners.

    policy, burning, measure, unit_wh: as in `AssetIssue`; 0 where nothing is metered. cashier: empty
    without one. from_s: meters mint and claims are paid for periods that begin then or later.
    """

    policy: int = 0
    burning: int = 0
    measure: int = 0
    unit_wh: int = 0
    settles: int = 0
    cashier: bytes = b""
    from_s: int = 0


# What a hold is for.
HOLD_EXCHANGE = 1
HOLD_CASH = 2
HOLD_SALE = 3
HOLD_ORDER = 20
HOLD_AUCTION = 21
HOLD_SESSION = 35
HOLD_REDEMPTION = 36
HOLD_DEPOSIT = 60
# What ends a hold, before its time has passed: a record that names it, nothing, or a receipt of another chain.
RELEASE_RECORD = 0
RELEASE_TIMEOUT = 1
RELEASE_RECEIPT = 2
# A hold that only a record ends.
NO_TIMEOUT = 0


class Hold(msgspec.Struct, frozen=True):
    """An amount that its owner has committed; the table's key is the id of the record that did it.

    to: who gets it, or may let go of it; empty: nobody in particular.
    purpose: HOLD_*. release: RELEASE_*. chain: of which a receipt releases it, else empty.
    until_s: the first block after it returns what is left to its owner; NO_TIMEOUT: none does.
    want, want_amount: what is given for it, for exchanges.
    """

    owner: bytes
    asset: str
    amount: int
    to: bytes
    purpose: int
    until_s: int
    release: int = RELEASE_RECORD
    chain: bytes = b""
    want: str = ""
    want_amount: int = 0


class HoldEnd(msgspec.Struct, frozen=True):
    """When a hold ends; the table's key is (until_s, hold)."""

    owner: bytes


class HoldCount(msgspec.Struct, frozen=True):
    """How many holds an account has open."""

    holds: int


class Reference(msgspec.Struct, frozen=True):
    """A payment outside that was accounted for; the table's key is (asset, reference)."""

    record_id: bytes
    account: bytes
    amount: int


class Carry(msgspec.Struct, frozen=True):
    """Energy of an account that a meter's asset has not minted for yet; below zero: minted for in advance.

    minted: units it was minted so far, less what corrections took back.
    """

    wh: int
    minted: int


class Pair(msgspec.Struct, frozen=True, gc=False):
    """Measurement and payment of one account in one period; the table's key is (period, account, entry).

    Entry 0 is the first settlement, later ones are what corrections changed. import_wh, export_wh,
    produced_wh: measured; an estimate counts nothing. amount_u: received less paid, by its postings.
    paid_u: received less paid in the asset that settles, for this period and what was open before.
    """

    pair_id: bytes
    import_wh: int
    export_wh: int
    produced_wh: int
    amount_u: int
    paid_u: int


CONTRACT_OFFERED = 0
CONTRACT_SIGNED = 1
CONTRACT_ENDED = 2
NOT_SIGNED = -1


class Contract(msgspec.Struct, frozen=True):
    """A contract; the table's key is the record id of its offer. service: -1 and "" where nothing is agreed.

    signed_s: time of the block in which the other party agreed; NOT_SIGNED: it has not.
    """

    offered_by: bytes
    to: bytes
    role: str
    terms: bytes
    from_s: int
    until_s: int
    status: int
    maximum_power_w: int
    priority: int
    source: str
    price_cap_u_kwh: int
    response_time_s: int
    signed_s: int = NOT_SIGNED


class ContractOf(msgspec.Struct, frozen=True):
    """Which contracts an account has; the table's key is (account, contract)."""

    other: bytes
