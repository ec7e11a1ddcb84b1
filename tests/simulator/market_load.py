"""Market load: what members do with assets beside passing them on, drawn from the seed.

Offers, orders, auctions and bids refer to earlier ones, of which many have not been heard, are over or
were never accepted: the ledger has to say so. What it holds for them must add up after every block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

import msgspec

from protocols.records import (
    SIDE_BUY,
    SIDE_SELL,
    Auction,
    AuctionBid,
    AuctionRising,
    Burn,
    Cancel,
    Exchange,
    ExchangeAccept,
    ExchangeOffer,
    ExchangeWithdraw,
    Order,
    Record,
    StandingTerms,
)

ASSETS = ("sun", "moon")
TICK = 1000
VALID_S = 600
# Auctions close and offers end while the run still goes on.
OPEN_S = 300
# The latest of each kind that are referred to.
REMEMBERED = 8

Drawn = Callable[..., Record]


class MarketLoad:
    """What members have said so far that others, or they themselves, can refer to."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._said: dict[str, deque[bytes]] = {kind: deque(maxlen=REMEMBERED) for kind in ("offer", "order", "auction")}
        self._kinds = (self._offer, self._answer, self._order, self._order, self._cancel, self._auction, self._burn)

    def draw(self, nonce: int, now_s: int) -> Record:
        """What somebody says next."""
        record = self._chance.choice(self._kinds)(now_s)
        return msgspec.structs.replace(record, nonce=nonce, valid_until_s=now_s + VALID_S)

    def said(self, record: Record, record_id: bytes) -> None:
        """A drawn record was signed: from now on others refer to it."""
        match record:
            case Exchange(step=ExchangeOffer()):
                self._said["offer"].append(record_id)
            case Order():
                self._said["order"].append(record_id)
            case Auction(step=AuctionRising()):
                self._said["auction"].append(record_id)

    def _one(self, kind: str) -> bytes:
        return self._chance.choice(self._said[kind] or [bytes(32)])

    def _pair(self) -> tuple[str, str]:
        first = self._chance.randrange(2)
        return ASSETS[first], ASSETS[1 - first]

    def _offer(self, now_s: int) -> Record:
        give, want = self._pair()
        step = ExchangeOffer(
            give=give,
            give_amount=self._chance.randrange(1, 2_000),
            want=want,
            want_amount=self._chance.randrange(1, 500),
            until_s=now_s + OPEN_S,
            to=None,
        )
        return Exchange(nonce=0, valid_until_s=0, step=step)

    def _answer(self, _: int) -> Record:
        offer = self._one("offer")
        withdraws = self._chance.randrange(4) == 0
        step = ExchangeWithdraw(offer=offer) if withdraws else ExchangeAccept(offer=offer)
        return Exchange(nonce=0, valid_until_s=0, step=step)

    def _order(self, _: int) -> Record:
        asset, paid_with = self._pair()
        return Order(
            nonce=0,
            valid_until_s=0,
            side=self._chance.choice((SIDE_BUY, SIDE_SELL)),
            period_start_s=0,
            energy_wh=self._chance.randrange(1, 100),
            price_u_kwh=TICK * self._chance.randrange(1, 10),
            standing=StandingTerms(asset=asset, paid_with=paid_with),
        )

    def _cancel(self, _: int) -> Record:
        return Cancel(nonce=0, valid_until_s=0, order=self._one("order"))

    def _auction(self, now_s: int) -> Record:
        step: AuctionRising | AuctionBid
        if self._said["auction"] and self._chance.randrange(3):
            price = TICK * self._chance.randrange(1, 20)
            step = AuctionBid(auction=self._one("auction"), units=self._chance.randrange(1, 5), price_u_kwh=price)
        else:
            asset, paid_with = self._pair()
            step = AuctionRising(
                asset=asset,
                paid_with=paid_with,
                units=self._chance.randrange(1, 5),
                reserve_u_kwh=TICK,
                step_u_kwh=TICK,
                closes_s=now_s + OPEN_S,
            )
        return Auction(nonce=0, valid_until_s=0, step=step)

    def _burn(self, _: int) -> Record:
        return Burn(nonce=0, valid_until_s=0, asset=self._chance.choice(ASSETS), amount=self._chance.randrange(1, 50))
