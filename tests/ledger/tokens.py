"""Tokens: the records about assets, exchanges, cash and contracts, as the homes of a `Chain` say them."""

from __future__ import annotations

from typing import Any

from meshnode.ledger import rows
from meshnode.ledger.balances import balance
from protocols.block import SignedRecord
from protocols.records import (
    POLICY_METER,
    Burn,
    Cash,
    CashAsk,
    CashConfirm,
    CashIn,
    CashOut,
    CashRelease,
    CashSell,
    Contract,
    ContractEnd,
    ContractOffer,
    ContractSign,
    Exchange,
    ExchangeAccept,
    ExchangeOffer,
    ExchangeWithdraw,
    ServiceLevel,
)
from tests.ledger.chain import Chain, account

HOUR_S = 3600
DAY_S = 86_400


def has(chain: Chain, home: str, asset: str) -> tuple[int, int]:
    """What a home has of an asset: (free, held)."""
    row: rows.Balance = balance(chain.machine.state, account(home), asset)
    return row.free, row.held


def supply(chain: Chain, asset: str) -> int:
    """How much of an asset exists."""
    return chain.machine.state.assets[asset].supply


def burn(chain: Chain, home: str, amount: int, asset: str = "SUN") -> SignedRecord:
    return chain.speak(home, Burn, asset=asset, amount=amount)


def offer(
    chain: Chain, home: str, give: tuple[int, str], want: tuple[int, str], to: str | None = None, **changes: Any
) -> SignedRecord:
    """So much of one asset for so much of another."""
    fields = {
        "give": give[1],
        "give_amount": give[0],
        "want": want[1],
        "want_amount": want[0],
        "until_s": chain.now_s + DAY_S,
        "to": None if to is None else account(to),
    }
    return chain.speak(home, Exchange, step=ExchangeOffer(**(fields | changes)))


def accept(chain: Chain, home: str, offered: SignedRecord) -> SignedRecord:
    return chain.speak(home, Exchange, step=ExchangeAccept(offer=offered.record_id))


def withdraw(chain: Chain, home: str, offered: SignedRecord) -> SignedRecord:
    return chain.speak(home, Exchange, step=ExchangeWithdraw(offer=offered.record_id))


def money(chain: Chain, cashier: str = "carla", cap: int = 10**9) -> SignedRecord:
    """Anna creates the payment token, and names its cashier."""
    return chain.issue("anna", "EURO", 0, cap, asset_kind=0, cashier=account(cashier))


def pay_in(chain: Chain, to: str, amount: int, reference: str, by: str = "carla", asset: str = "EURO") -> SignedRecord:
    return chain.speak(by, Cash, step=CashIn(asset=asset, to=account(to), amount=amount, reference=reference))


def ask(chain: Chain, home: str, amount: int, asset: str = "EURO", **changes: Any) -> SignedRecord:
    fields = {"asset": asset, "amount": amount, "until_s": chain.now_s + DAY_S}
    return chain.speak(home, Cash, step=CashAsk(**(fields | changes)))


def pay_out(chain: Chain, asked: SignedRecord, reference: str, by: str = "carla") -> SignedRecord:
    return chain.speak(by, Cash, step=CashOut(ask=asked.record_id, reference=reference))


def sell(chain: Chain, home: str, to: str, amount: int, asset: str = "EURO", **changes: Any) -> SignedRecord:
    fields = {"to": account(to), "asset": asset, "amount": amount, "until_s": chain.now_s + DAY_S}
    return chain.speak(home, Cash, step=CashSell(**(fields | changes)))


def confirm(chain: Chain, home: str, sale: SignedRecord) -> SignedRecord:
    return chain.speak(home, Cash, step=CashConfirm(sale=sale.record_id))


def release(chain: Chain, home: str, held: SignedRecord) -> SignedRecord:
    return chain.speak(home, Cash, step=CashRelease(held=held.record_id))


def metered(chain: Chain, asset: str, measure: int, unit_wh: int, cap: int = 10**9) -> SignedRecord:
    """Anna creates an asset that meters mint."""
    return chain.issue("anna", asset, 0, cap, asset_kind=1, policy=POLICY_METER, measure=measure, unit_wh=unit_wh)


def contract(chain: Chain, home: str, to: str, **changes: Any) -> SignedRecord:
    """A home offers to supply another for a month."""
    fields = {
        "to": account(to),
        "role": "supplier",
        "service": ServiceLevel(maximum_power_w=3000, price_cap_u_kwh=280_000, source="solar"),
        "terms": bytes(32),
        "from_s": chain.now_s,
        "until_s": chain.now_s + 30 * DAY_S,
    }
    return chain.speak(home, Contract, step=ContractOffer(**(fields | changes)))


def sign(chain: Chain, home: str, offered: SignedRecord) -> SignedRecord:
    return chain.speak(home, Contract, step=ContractSign(contract=offered.record_id))


def end(chain: Chain, home: str, offered: SignedRecord) -> SignedRecord:
    return chain.speak(home, Contract, step=ContractEnd(contract=offered.record_id))
