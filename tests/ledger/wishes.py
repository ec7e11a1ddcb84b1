"""Wishes: how the homes of tests say what their agents and their partners are to do."""

from __future__ import annotations

from typing import Any

from protocols.block import SignedRecord
from protocols.records import Agent, AgentOff, AgentSet, Partner, PartnerFirst, PartnerNobody
from tests.ledger.chain import Chain, account

TICK = 1000


def agent(
    chain: Chain, home: str, buy_u: int, sell_u: int, low: int, target: int, high: int, **terms: Any
) -> SignedRecord:
    """A home sets its agent."""
    fields = {"asset": "ENERGY", "paid_with": "EURO"} | terms
    prices = {"buy_price_u_kwh": buy_u * TICK, "sell_price_u_kwh": sell_u * TICK}
    return chain.speak(home, Agent, step=AgentSet(**prices, low=low, target=target, high=high, **fields))


def agent_off(chain: Chain, home: str, asset: str = "ENERGY") -> SignedRecord:
    return chain.speak(home, Agent, step=AgentOff(asset=asset))


def first(chain: Chain, home: str, side: int, partner: str, price_u_kwh: int, **terms: Any) -> SignedRecord:
    """A home serves a partner first from now on; without an asset in settlement periods."""
    step = PartnerFirst(side=side, partner=account(partner), price_u_kwh=price_u_kwh, **terms)
    return chain.speak(home, Partner, step=step)


def nobody_first(chain: Chain, home: str, side: int, **terms: Any) -> SignedRecord:
    return chain.speak(home, Partner, step=PartnerNobody(side=side, **terms))
