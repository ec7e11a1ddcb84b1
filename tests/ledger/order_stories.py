"""Order stories: text files about standing orders on the ledger, in which every line is a block.

Read and written like the stories of `tests.market.stories`.

    python -m tests.ledger.order_stories --rewrite FILE...
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from meshnode.execution.auctions import bids
from meshnode.execution.floor import OrderGone, OrderTraded
from meshnode.ledger.verdicts import Verdict
from meshnode.market import Leaving
from protocols.block import SignedRecord
from protocols.records import (
    GOOD_AT_ONCE,
    GOOD_MARKET,
    GOOD_WHOLE_AT_ONCE,
    SIDE_BUY,
    SIDE_SELL,
    Amend,
    Auction,
    AuctionBid,
    AuctionFalling,
    AuctionRising,
    Cancel,
    Order,
    StandingTerms,
)
from tests.ledger import tokens, wishes
from tests.ledger.chain import Chain, account, member
from tests.market.stories import Block, read, write

ENERGY, EURO = "ENERGY", "EURO"
TICK = 1000
SIDES = {"buys": SIDE_BUY, "sells": SIDE_SELL}
GOOD = {"at-once": GOOD_AT_ONCE, "whole": GOOD_WHOLE_AT_ONCE, "market": GOOD_MARKET}
HOMES = 4
# In place of an order's id.
_AGENTS = b""


def order(chain: Chain, home: str, side: int, units: int, price_u: int, **terms: Any) -> SignedRecord:
    """A home orders units of an asset, at so many units of another for each."""
    fields = {"asset": ENERGY, "paid_with": EURO} | terms
    return chain.speak(
        home,
        Order,
        side=side,
        period_start_s=0,
        energy_wh=units,
        price_u_kwh=price_u * TICK,
        standing=StandingTerms(**fields),
    )


def buy(chain: Chain, home: str, units: int, price_u: int, **terms: Any) -> SignedRecord:
    return order(chain, home, SIDE_BUY, units, price_u, **terms)


def sell(chain: Chain, home: str, units: int, price_u: int, **terms: Any) -> SignedRecord:
    return order(chain, home, SIDE_SELL, units, price_u, **terms)


def amend(chain: Chain, home: str, placed: SignedRecord, units: int, price_u: int) -> SignedRecord:
    return chain.speak(home, Amend, order=placed.record_id, energy_wh=units, price_u_kwh=price_u * TICK)


def cancel(chain: Chain, home: str, placed: SignedRecord) -> SignedRecord:
    return chain.speak(home, Cancel, order=placed.record_id)


def rising(chain: Chain, home: str, units: int, reserve_u: int, step_u: int, **terms: Any) -> SignedRecord:
    """A home auctions off a lot."""
    fields = {"asset": ENERGY, "paid_with": EURO, "closes_s": chain.now_s + 65} | terms
    prices = {"reserve_u_kwh": reserve_u * TICK, "step_u_kwh": step_u * TICK}
    return chain.speak(home, Auction, step=AuctionRising(units=units, **prices, **fields))


def falling(chain: Chain, home: str, units: int, most_u: int, **terms: Any) -> SignedRecord:
    """A home calls for energy."""
    fields = {"asset": ENERGY, "paid_with": EURO, "closes_s": chain.now_s + 65} | terms
    return chain.speak(home, Auction, step=AuctionFalling(units=units, maximum_u_kwh=most_u * TICK, **fields))


def bid(chain: Chain, home: str, auction: SignedRecord, units: int, price_u: int, **terms: Any) -> SignedRecord:
    """A home bids in a rising auction, or asks in a falling one."""
    step = AuctionBid(auction=auction.record_id, units=units, price_u_kwh=price_u * TICK, **terms)
    return chain.speak(home, Auction, step=step)


def market(homes: int = HOMES) -> Chain:
    """A microgrid with energy tokens and money; carla is the cashier, anna issues the rest."""
    chain = Chain(homes)
    chain.block(tokens.money(chain), chain.issue("anna", ENERGY, 0, 10**9, asset_kind=1))
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}
    return chain


def give(chain: Chain, home: str, units: int, asset: str) -> None:
    """A home gets units that did not exist before."""
    if asset == EURO:
        chain.block(tokens.pay_in(chain, home, units, f"bank {chain.nonce()}"))
    else:
        minted = chain.issue("anna", asset, units, 10**9, asset_kind=1)
        chain.block(*[minted, *([] if home == "anna" else [chain.transfer("anna", home, units, asset)])])
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}, chain.verdicts()


class Story:
    """One file's market so far; orders are numbered as they come."""

    def __init__(self) -> None:
        self.chain = market()
        self.orders: list[tuple[str, SignedRecord]] = []
        self.auctions: list[SignedRecord] = []

    def operate(self, words: list[str]) -> list[str]:
        """Do what a line says; what happened, in words."""
        chain = self.chain
        known = dict(chain.machine.state.standing.items()) | self._stand()
        known[_AGENTS] = self._of_agents()
        match words:
            case ["show", *homes]:
                return [self._has(home) for home in homes]
            case ["quote"]:
                found = chain.machine.floor.quote((ENERGY, EURO))
                prices = (getattr(found, name) for name in found.__struct_fields__)
                shown = ["-" if one is None else str(one // TICK) for one in prices]
                return ["buying at {}, selling at {}; now at {} and {}".format(*shown)]
            case ["give", home, units, asset]:
                give(chain, home, int(units), asset)
            case ["wait", seconds]:
                chain.block(time_s=chain.now_s + int(seconds))
            case ["join", home]:
                chain.block(chain.join(member(home)))
            case [home, "agent", "off"]:
                chain.block(wishes.agent_off(chain, home))
            case [home, "agent", "buys", buy, "sells", sell, "low", low, "target", target, "high", high]:
                numbers = (int(word) for word in (buy, sell, low, target, high))
                chain.block(wishes.agent(chain, home, *numbers))
            case [home, side, "first", "to" | "from", "nobody"]:
                terms = {"asset": ENERGY, "paid_with": EURO}
                chain.block(wishes.nobody_first(chain, home, SIDES[side], **terms))
            case [home, side, "first", "to" | "from", partner, "at", price]:
                terms = {"asset": ENERGY, "paid_with": EURO}
                chain.block(wishes.first(chain, home, SIDES[side], partner, int(price) * TICK, **terms))
            case ["leave", home]:
                chain.block(chain.leave(home, by="anna"))
            case ["cancel", number]:
                home, placed = self.orders[int(number) - 1]
                chain.block(cancel(chain, home, placed))
            case ["amend", number, units, "at", price]:
                home, placed = self.orders[int(number) - 1]
                chain.block(amend(chain, home, placed, int(units), int(price)))
            case [home, "auctions", units, "at", reserve, "step", step, *more]:
                self._call(rising(chain, home, int(units), int(reserve), int(step), **self._times(more)))
            case [home, "calls", units, "at", most, *more]:
                self._call(falling(chain, home, int(units), int(most), **self._times(more)))
            case [home, "bids", price, "in", number]:
                lot = self.auctions[int(number) - 1]
                chain.block(bid(chain, home, lot, lot.record.step.units, int(price)))  # type: ignore[attr-defined]
            case [home, "asks", units, "at", price, "in", number, *more]:
                called = self.auctions[int(number) - 1]
                chain.block(bid(chain, home, called, int(units), int(price), **self._times(more)))
            case [home, side, units, "at", price, *more]:
                placed = order(chain, home, SIDES[side], int(units), int(price), **self._terms(more))
                self.orders.append((home, placed))
                chain.block(placed)
            case _:
                raise ValueError(f"{' '.join(words)}: no such line")
        return self._told(known)

    def _call(self, called: SignedRecord) -> None:
        self.auctions.append(called)
        self.chain.block(called)

    def _times(self, words: list[str]) -> dict[str, Any]:
        given = dict(word.split("=") for word in words)
        found: dict[str, Any] = {f"{key}_s": int(given[key]) for key in ("snipe",) if key in given}
        found |= {"extends_s": int(given["extend"])} if "extend" in given else {}
        found |= {"closes_s": self.chain.now_s + 5 + int(given["for"])} if "for" in given else {}
        return found | ({"attributes": (("source", given["source"]),)} if "source" in given else {})

    def _stand(self) -> dict[bytes, Any]:
        """The bids of each auction that is open."""
        state = self.chain.machine.state
        return {auction_id: [one for one, _ in bids(state, auction_id)] for auction_id, _ in state.auctions.items()}

    def _of_agents(self) -> dict[bytes, str]:
        """The orders of agents that rest, in words."""
        state, found = self.chain.machine.state, {}
        for (owner, _), row in state.agents.items():
            order = state.standing.get(row.order)
            if order is not None:
                does, price = ("buys" if order.side == SIDE_BUY else "sells"), order.price_u_kwh // TICK
                rests = f"{does} {order.open_wh} at {price}, {order.ready_wh} ready"
                found[row.order] = f"agent of {state.accounts[owner].name} {rests}"
        return found

    def _terms(self, words: list[str]) -> dict[str, Any]:
        terms: dict[str, Any] = {}
        for word in words:
            name, _, given = word.partition("=")
            if name in GOOD:
                terms["good"] = GOOD[name]
            elif name == "unbacked":
                terms["unbacked"] = 1
            elif name == "for":
                # The block that carries it comes five seconds later.
                terms["expires_s"] = self.chain.now_s + 5 + int(given)
            elif name == "first":
                partner, _, price = given.partition("@")
                terms |= {"partner": account(partner), "partner_price_u_kwh": int(price) * TICK}
            else:
                raise ValueError(f"{word}: no such condition")
        return terms

    def _told(self, known: dict[bytes, Any]) -> list[str]:
        told, state = [], self.chain.machine.state
        numbers = {placed.record_id: number for number, (_, placed) in enumerate(self.orders, 1)}
        refused = [one.name for one in self.chain.verdicts() if one != Verdict.ACCEPTED]
        if refused:
            return [f"refused: {', '.join(refused)}"]
        for event in self.chain.events[self.chain.machine.height]:
            if isinstance(event, OrderTraded):
                one = event.trade
                names = [state.accounts[party].name for party in (one.seller, one.buyer)]
                told.append(f"{names[0]} -> {names[1]} {one.energy_wh} {one.asset} for {one.paid} {one.paid_with}")
        gone = {
            event.order_id: Leaving(event.why).name.lower()
            for event in self.chain.events[self.chain.machine.height]
            if isinstance(event, OrderGone)
        }
        rest, rested = self._of_agents(), known[_AGENTS]
        told += [said for order_id, said in rest.items() if rested.get(order_id) != said]
        ended = (said.split(" ")[2] for order_id, said in rested.items() if order_id not in rest)
        told += [f"agent of {name}: order gone" for name in ended]
        stand = self._stand()
        for number, called in enumerate(self.auctions, 1):
            here = stand.get(called.record_id)
            if here is None and called.record_id in known:
                told.append(f"auction {number} is over")
            elif here is not None and here != known.get(called.record_id):
                told.append(f"auction {number} is open: {len(here)} {'stands' if len(here) == 1 else 'stand'}")
        for order_id, number in numbers.items():
            row = state.standing.get(order_id)
            if order_id in gone:
                told.append(f"order {number} gone: {gone[order_id]}")
            elif row is not None and row != known.get(order_id):
                told.append(f"order {number} rests: {row.ready_wh} of {row.open_wh} ready")
        return told

    def _has(self, home: str) -> str:
        parts = ("{} free, {} held ".format(*tokens.has(self.chain, home, code)) + code for code in (EURO, ENERGY))
        return f"{home} {'; '.join(parts)}"


def play(blocks: list[Block]) -> list[Block]:
    """Run every block; each begins with a market of its own."""
    played = []
    for block in blocks:
        found = block.expected
        if block.command:
            assert block.command == "market", block.command
            story = Story()
            found = [told for line in block.lines for told in story.operate(line.split())]
        played.append(msgspec.structs.replace(block, expected=found))
    return played


def main(arguments: list[str]) -> int:
    """Rewrite the expectations of files; read the difference before you commit it."""
    if len(arguments) < 2 or arguments[0] != "--rewrite":
        print(__doc__)
        return 2
    for name in arguments[1:]:
        path = Path(name)
        path.write_text(write(play(read(path.read_text(encoding="utf-8")))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
