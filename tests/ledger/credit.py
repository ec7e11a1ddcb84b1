"""Credit: the records about limits, deposits, prices and other parameters, as the homes of a `Chain` say them."""

from __future__ import annotations

from functools import partial
from typing import Any

from meshnode.execution.call import on_top_u_kwh
from meshnode.ledger import credit
from protocols.block import SignedRecord
from protocols.records import (
    CapSet,
    CreditLimit,
    DepositPlace,
    DepositRelease,
    GridFeesSet,
    LevySet,
    LocationSet,
    MemberCredit,
    Parameter,
    PriceCommunity,
    PriceMine,
    PriceSet,
    SolidaritySet,
)
from tests.ledger import tokens
from tests.ledger.chain import Chain, account


def limit(chain: Chain, of: str | None, limit_u: int | None, by: str = "anna") -> SignedRecord:
    """Somebody bounds what a home, or everybody, may owe and promise."""
    step = CreditLimit(account=None if of is None else account(of), limit_u=limit_u)
    return chain.speak(by, MemberCredit, step=step)


def deposit(chain: Chain, home: str, amount: int, to: str = "anna", asset: str = "EURO") -> SignedRecord:
    return chain.speak(home, MemberCredit, step=DepositPlace(asset=asset, amount=amount, to=account(to)))


def release(chain: Chain, deposited: SignedRecord, by: str = "anna") -> SignedRecord:
    return chain.speak(by, MemberCredit, step=DepositRelease(deposit=deposited.record_id))


def price(
    chain: Chain, home: str, sell: int | None = None, buy: int | None = None, from_s: int | None = None
) -> SignedRecord:
    """A home sets what it sells and buys at, in micro-units per kWh."""
    return chain.speak(home, PriceSet, step=PriceMine(from_s=from_s, sell_u_kwh=sell, buy_u_kwh=buy))


def outside(
    chain: Chain, grid: int | None = None, feed_in: int | None = None, by: str = "anna", from_s: int | None = None
) -> SignedRecord:
    """Somebody sets the prices of the grid."""
    return chain.speak(by, PriceSet, step=PriceCommunity(from_s=from_s, grid_u_kwh=grid, feed_in_u_kwh=feed_in))


def parameter(
    chain: Chain, step: LevySet | SolidaritySet | GridFeesSet | LocationSet | CapSet, by: str = "anna"
) -> SignedRecord:
    return chain.speak(by, Parameter, step=step)


def levy(chain: Chain, name: str, base: int, u_kwh: int, by: str = "anna", **more: Any) -> SignedRecord:
    return parameter(chain, LevySet(name=name, base=base, levy_u_kwh=u_kwh, **more), by)


def stands(chain: Chain, home: str) -> credit.Account:
    """How a home stands."""
    on_top = partial(on_top_u_kwh, chain.machine)
    return credit.account_of(chain.machine.state, account(home), chain.now_s, on_top)


def settling(homes: int = 4, **changes: Any) -> Chain:
    """A microgrid whose periods are paid with EURO, of which bela, carla and dora have 1000 each."""
    chain = Chain(homes, **changes)
    money = chain.issue("anna", "EURO", 0, 10**12, asset_kind=0, settles=1, cashier=account("carla"))
    chain.block(money)
    chain.block(*(tokens.pay_in(chain, home, 1_000, f"first of {home}") for home in ("bela", "carla", "dora")))
    assert chain.verdicts() == [0, 0, 0]
    return chain
