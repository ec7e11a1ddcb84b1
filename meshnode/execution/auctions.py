"""Auctions on the ledger: called, bid in, and closed by the first block after their time.

What is offered, and what every bid that stands would cost or deliver, is held under its record id; the close
moves both legs of each trade out of these holds, and gives back the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from meshnode.execution.call import Call, Handlers
from meshnode.execution.floor import Floor, Moment, OrderGone, Pair
from meshnode.execution.orders import band_of, fault_of_price
from meshnode.ledger import capacity, holds, rows
from meshnode.ledger.balances import balance
from meshnode.ledger.order_rows import AUCTION_FALLING, AUCTION_RISING
from meshnode.ledger.order_rows import Auction as AuctionRow
from meshnode.ledger.order_rows import AuctionBid as BidRow
from meshnode.ledger.standing import PRICE_TICK_U_KWH
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Award, Band, Leaving, Placed, Refusal, falling_auction, rising_auction
from protocols.records import Auction, AuctionBid, AuctionFalling, AuctionRising

# A month: whoever wants to sell later calls later.
MAX_OPEN_S = 31 * 86_400
# Of all members together; each block looks which of them are over.
MAX_AUCTIONS = 1000

_REFUSED = {
    Refusal.NOT_OPEN: Verdict.AUCTION_OVER,
    Refusal.CLOSED: Verdict.AUCTION_OVER,
    Refusal.OWN_AUCTION: Verdict.SAME_ACCOUNT,
    Refusal.BELOW_RESERVE: Verdict.BID_TOO_WEAK,
    Refusal.BELOW_STEP: Verdict.BID_TOO_WEAK,
    Refusal.ABOVE_MAXIMUM: Verdict.BID_TOO_WEAK,
    Refusal.NOT_LOWER: Verdict.BID_TOO_WEAK,
    Refusal.ATTRIBUTE_MISSING: Verdict.ATTRIBUTE_MISSING,
    Refusal.TOO_MANY: Verdict.TOO_MANY_STANDING,
}


class AuctionClosed(msgspec.Struct, frozen=True):
    """An auction is over. trades: how many it came to; open_wh: units that found no taker."""

    auction_id: bytes
    auction: AuctionRow
    trades: int
    open_wh: int


def close_due(state: State, floor: Floor, moment: Moment) -> None:
    """Close every auction whose time is past, by time and then id."""
    due = [(row.closes_s, auction_id) for auction_id, row in state.auctions.items() if row.closes_s <= moment.time_s]
    for _, auction_id in sorted(due):
        _close(state, floor, moment, auction_id)


def keep_within(state: State, moment: Moment, band_of: Callable[[Pair], Band]) -> None:
    """Other prices are allowed from now on: bids outside go with what they held, and an auction whose own limit is
    outside ends without a trade. What stays open goes on, for bids that are allowed.

    By auction and, within one, by the sequence of its bids; as `Floor.keep_within` for what rests in books.
    """
    for auction_id, row in state.auctions.items():
        band = band_of((row.asset, row.paid_with))
        for bid_id, bid in bids(state, auction_id):
            if not band.admits(bid.price_u_kwh):
                _drop_bid(state, auction_id, bid_id)
                moment.events.append(OrderGone(bid_id, bid.account, int(Leaving.OUT_OF_BAND), bid.units, 0))
        if not band.admits(row.limit_u_kwh):
            _end(state, moment, auction_id, Award((), row.units))


def leave(state: State, moment: Moment, account: bytes) -> None:
    """A member has left: its auctions end without a trade, its bids go."""
    for auction_id, row in state.auctions.items():
        if row.account == account:
            _end(state, moment, auction_id, Award((), row.units))
    for (auction_id, bid_id), bid in state.auction_bids.items():
        if bid.account == account:
            _drop_bid(state, auction_id, bid_id)


def bids(state: State, auction_id: bytes) -> list[tuple[bytes, BidRow]]:
    """The bids of an auction that stand, by sequence."""
    found = state.auction_bids.range((auction_id, b""), (auction_id, _AFTER_ALL))
    return sorted(((bid_id, row) for (_, bid_id), row in found), key=lambda item: (item[1].height, item[1].position))


def check(state: State) -> None:
    """What is held for auctions is what is offered and what stands.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    needed = {auction_id: _held_for(row) for auction_id, row in state.auctions.items()}
    for (auction_id, bid_id), bid in state.auction_bids.items():
        needed[bid_id] = _held_for_bid(state.auctions[auction_id], bid)
    held = {
        hold_id: (hold.asset, hold.amount) for hold_id, hold in state.holds.items() if hold.purpose == rows.HOLD_AUCTION
    }
    assert held == needed, "what is held for auctions is not what they need"


# --- records


def _auction(call: Call, record: Auction) -> Verdict:
    match record.step:
        case AuctionBid() as step:
            return _bid(call, step)
        case AuctionRising() as step:
            row = AuctionRow(
                kind=AUCTION_RISING,
                account=call.account,
                asset=step.asset,
                paid_with=step.paid_with,
                units=step.units,
                limit_u_kwh=step.reserve_u_kwh,
                step_u_kwh=step.step_u_kwh,
                opens_s=call.time_s,
                closes_s=step.closes_s,
                snipe_s=step.snipe_s,
                latest_s=step.closes_s + step.extends_s,
                attributes=(),
            )
        case AuctionFalling() as step:
            row = AuctionRow(
                kind=AUCTION_FALLING,
                account=call.account,
                asset=step.asset,
                paid_with=step.paid_with,
                units=step.units,
                limit_u_kwh=step.maximum_u_kwh,
                step_u_kwh=PRICE_TICK_U_KWH,
                opens_s=call.time_s,
                closes_s=step.closes_s,
                snipe_s=0,
                latest_s=step.closes_s,
                attributes=step.attributes,
            )
    return _open(call, row)


def _open(call: Call, row: AuctionRow) -> Verdict:
    if any(code not in call.state.assets for code in (row.asset, row.paid_with)):
        return Verdict.UNKNOWN_ASSET
    if row.asset == row.paid_with:
        return Verdict.SAME_ASSET
    if row.paid_with in call.state.storages:
        return Verdict.STORED_PAYS
    if not call.time_s < row.closes_s <= call.time_s + MAX_OPEN_S:
        return Verdict.END_NOT_AHEAD
    for price in (row.limit_u_kwh, row.step_u_kwh):
        if price % PRICE_TICK_U_KWH or price < PRICE_TICK_U_KWH:
            return Verdict.PRICE_OFF_TICK
    if fault := fault_of_price(row.limit_u_kwh, band_of(call, row.asset, row.paid_with)):
        return fault
    if row.kind == AUCTION_FALLING and not capacity.has_room(call.state, row.asset, call.account, row.units):
        return Verdict.NO_ROOM
    if len(call.state.auctions) >= MAX_AUCTIONS:
        return Verdict.TOO_MANY_STANDING
    if fault := _hold(call, call.record_id, *_held_for(row)):
        return fault
    call.state.auctions.put(call.record_id, row)
    return Verdict.ACCEPTED


def _bid(call: Call, step: AuctionBid) -> Verdict:
    state, bid_id = call.state, call.record_id
    row = state.auctions.get(step.auction)
    if row is None:
        return Verdict.UNKNOWN_AUCTION
    if row.kind == AUCTION_RISING and step.units != row.units:
        return Verdict.OTHER_LOT
    if fault := fault_of_price(step.price_u_kwh, band_of(call, row.asset, row.paid_with)):
        return fault
    room = capacity.room(state, row.asset, call.account, step.auction) if row.kind == AUCTION_RISING else None
    if room is not None and step.units > room:
        return Verdict.NO_ROOM
    bid = BidRow(call.account, step.units, step.price_u_kwh, call.height, call.position, step.attributes)
    placed = _placed(state, step.auction, row, bid_id, bid, call.time_s)
    if placed.refusal is not None:
        return _REFUSED[placed.refusal]
    displaced = None if placed.displaced is None else placed.displaced.order_id
    if fault := _fault_of_means(state, row, bid, displaced):
        return fault
    if displaced is not None:
        _drop_bid(state, step.auction, displaced)
    fault = _hold(call, bid_id, *_held_for_bid(row, bid))
    assert not fault, f"bid {bid_id.hex()}: {fault.name} after it was checked"
    state.auction_bids.put((step.auction, bid_id), bid)
    if isinstance(placed.auction, rising_auction.RisingAuction) and placed.auction.closes_s != row.closes_s:
        state.auctions.put(step.auction, msgspec.structs.replace(row, closes_s=placed.auction.closes_s))
    return Verdict.ACCEPTED


def _fault_of_means(state: State, row: AuctionRow, bid: BidRow, displaced: bytes | None) -> Verdict:
    """Whether a bid can be held for, once its owner's displaced one has been let go."""
    asset, amount = _held_for_bid(row, bid)
    own = state.holds[displaced].amount if displaced is not None and state.holds[displaced].owner == bid.account else 0
    if balance(state, bid.account, asset).free + own < amount:
        return Verdict.NOT_ENOUGH
    return Verdict.ACCEPTED if own or holds.has_room(state, bid.account) else Verdict.TOO_MANY_HOLDS


# --- the mechanisms of the market, from rows and back


def _rising(state: State, auction_id: bytes, row: AuctionRow) -> rising_auction.RisingAuction:
    lot = rising_auction.Lot(
        auction_id=auction_id,
        seller=row.account,
        energy_wh=row.units,
        reserve_u_kwh=row.limit_u_kwh,
        step_u_kwh=row.step_u_kwh,
        opens_s=row.opens_s,
        closes_s=row.closes_s,
        snipe_s=row.snipe_s,
        latest_s=max(row.latest_s, row.closes_s),
    )
    best = [rising_auction.Bid(bid_id, bid.account, bid.price_u_kwh) for bid_id, bid in bids(state, auction_id)]
    return rising_auction.RisingAuction(lot, row.closes_s, best[0] if best else None)


def _falling(state: State, auction_id: bytes, row: AuctionRow) -> falling_auction.FallingAuction:
    call = falling_auction.Call(
        auction_id, row.account, row.units, row.limit_u_kwh, row.attributes, row.opens_s, row.closes_s
    )
    asks = tuple(_ask(bid_id, bid) for bid_id, bid in bids(state, auction_id))
    return falling_auction.FallingAuction(call, asks)


def _ask(bid_id: bytes, bid: BidRow) -> falling_auction.Ask:
    return falling_auction.Ask(
        bid_id, bid.account, bid.units, bid.price_u_kwh, (bid.height, bid.position), bid.attributes
    )


def _placed(
    state: State, auction_id: bytes, row: AuctionRow, bid_id: bytes, bid: BidRow, time_s: int
) -> (
    Placed[rising_auction.RisingAuction, rising_auction.Bid]
    | Placed[falling_auction.FallingAuction, falling_auction.Ask]
):
    if row.kind == AUCTION_RISING:
        offered = rising_auction.Bid(bid_id, bid.account, bid.price_u_kwh)
        return rising_auction.place(_rising(state, auction_id, row), offered, time_s)
    return falling_auction.place(_falling(state, auction_id, row), _ask(bid_id, bid), time_s)


def _close(state: State, floor: Floor, moment: Moment, auction_id: bytes) -> None:
    row = state.auctions[auction_id]
    if row.kind == AUCTION_RISING:
        award = rising_auction.close_auction(_rising(state, auction_id, row), moment.time_s)
    else:
        award = falling_auction.close_auction(_falling(state, auction_id, row), moment.time_s)
    for trade in award.trades:
        floor.trade(moment, (row.asset, row.paid_with), trade)
    _end(state, moment, auction_id, award)


def _end(state: State, moment: Moment, auction_id: bytes, award: Award) -> None:
    """Let go of all that is still held, and of the auction."""
    for bid_id, _ in bids(state, auction_id):
        _drop_bid(state, auction_id, bid_id)
    if auction_id in state.holds:
        holds.release(state, auction_id)
    moment.events.append(AuctionClosed(auction_id, state.auctions[auction_id], len(award.trades), award.open_wh))
    state.auctions.delete(auction_id)


# --- holds


def _held_for(row: AuctionRow) -> tuple[str, int]:
    """What who calls an auction has held: the lot, or what it may cost."""
    if row.kind == AUCTION_RISING:
        return row.asset, row.units
    return row.paid_with, row.units * (row.limit_u_kwh // PRICE_TICK_U_KWH)


def _held_for_bid(row: AuctionRow, bid: BidRow) -> tuple[str, int]:
    if row.kind == AUCTION_RISING:
        return row.paid_with, bid.units * (bid.price_u_kwh // PRICE_TICK_U_KWH)
    return row.asset, bid.units


def _hold(call: Call, hold_id: bytes, asset: str, amount: int) -> Verdict:
    hold = rows.Hold(call.account, asset, amount, b"", rows.HOLD_AUCTION, rows.NO_TIMEOUT)
    return holds.place(call.state, hold_id, hold, call.time_s)


def _drop_bid(state: State, auction_id: bytes, bid_id: bytes) -> None:
    if bid_id in state.holds:
        holds.release(state, bid_id)
    state.auction_bids.delete((auction_id, bid_id))


# Record ids have 32 bytes.
_AFTER_ALL = b"\xff" * 33

EXECUTED: Handlers = {Auction: (rows.PURPOSE_MEMBER, _auction)}
