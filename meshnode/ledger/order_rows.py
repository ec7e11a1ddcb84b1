"""Order rows: what the tables of standing orders, their first steps and their trades hold."""

from __future__ import annotations

import msgspec

# What stands for "none" in a row of integers and bytes.
NO_EXPIRY = -1
NO_PRICE = -1
NOBODY = b""


class Standing(msgspec.Struct, frozen=True):
    """An order of an asset that rests; the table's key is its record id, and that of its hold.

    open_wh: units that it still wants; ready_wh: those that are held for, and may trade now; filled_wh: traded.
    height, position: its place in the sequence. unbacked: 1 if it may rest with less ready than open.
    state: of its life cycle. terms: hash of what it said. contract: that it was given under, empty if under none.
    """

    account: bytes
    side: int
    asset: str
    paid_with: str
    open_wh: int
    ready_wh: int
    filled_wh: int
    price_u_kwh: int
    height: int
    position: int
    expires_s: int
    partner: bytes
    partner_price_u_kwh: int
    unbacked: int
    state: int
    terms: bytes
    contract: bytes = NOBODY


class StandingOf(msgspec.Struct, frozen=True):
    """Which standing orders an account has; the table's key is (account, order)."""

    asset: str


class Committed(msgspec.Struct, frozen=True):
    """A step that was committed to before its order; the table's key is the record id.

    state: of the life cycle that it reaches. said: the hash. before: the step before it, empty for the first.
    """

    account: bytes
    state: int
    said: bytes
    before: bytes
    until_s: int


class Execution(msgspec.Struct, frozen=True):
    """A trade, both legs of which are done; the table's key is (height, number in the block).

    paid: what the buyer gave. state: of the life cycle. undo: who of the parties wants it undone, empty if nobody.
    """

    buyer: bytes
    seller: bytes
    buy_order: bytes
    sell_order: bytes
    asset: str
    paid_with: str
    energy_wh: int
    paid: int
    time_s: int
    state: int
    undo: bytes = NOBODY


class TradingDay(msgspec.Struct, frozen=True):
    """A day whose trades are settled; the table's key is its first UTC second.

    trades: how many. digest: SHA-256 over them, each appended to what was before.
    """

    trades: int
    digest: bytes


AUCTION_RISING = 1
AUCTION_FALLING = 2


class Auction(msgspec.Struct, frozen=True):
    """An auction that is open; the table's key is its record id, and that of the hold of who called it.

    limit_u_kwh: the reserve of a rising one, the maximum of a falling one. closes_s: as things stand.
    """

    kind: int
    account: bytes
    asset: str
    paid_with: str
    units: int
    limit_u_kwh: int
    step_u_kwh: int
    opens_s: int
    closes_s: int
    snipe_s: int
    latest_s: int
    attributes: tuple[tuple[str, str], ...]


class AuctionBid(msgspec.Struct, frozen=True):
    """A bid or an ask that stands; the table's key is (auction, record id), the latter also its hold's."""

    account: bytes
    units: int
    price_u_kwh: int
    height: int
    position: int
    attributes: tuple[tuple[str, str], ...]


class Agent(msgspec.Struct, frozen=True):
    """What a member wants of its agent; the table's key is (account, asset). order: its newest, empty without one."""

    paid_with: str
    buy_price_u_kwh: int
    sell_price_u_kwh: int
    low: int
    target: int
    high: int
    order: bytes = NOBODY


class Preference(msgspec.Struct, frozen=True):
    """Who is served first, at which limit; the table's key is (account, side, asset, what pays), "" for periods."""

    partner: bytes
    price_u_kwh: int
