"""Ledgers: small communities under a binding of a few sentences, for proofs."""

from __future__ import annotations

from typing import Any

from tests.ledger.chain import Chain, account, period_s

HEAD = """Rule language 'en'
Rule binding version 1
{rules}Scenario 'proof': Palm Bay
Given the currency is 'EUR'
And the settlement period is 15 minutes
And grid energy costs 0.30 EUR/kWh
And grid feed-in pays 0.10 EUR/kWh
{givens}When a settlement period closes
Then share production at the mid-market rate
"""
EUR = 1_000_000


def text(*blocks: str, givens: tuple[str, ...] = (), rules: tuple[str, ...] = ()) -> str:
    """A binding: rules and givens by their sentences, blocks with their keywords, a line each."""
    head = HEAD.format(
        rules="".join(f"Rule {one}\n" for one in rules), givens="".join(f"And {one}\n" for one in givens)
    )
    return head + "".join(f"{one}\n" for one in blocks)


def ledger(
    *blocks: str, givens: tuple[str, ...] = (), rules: tuple[str, ...] = (), homes: int = 3, **genesis: Any
) -> Chain:
    """A community of anna, who administers, bela, carla and so on, all of them prosumers with a meter, on UTC."""
    return Chain(homes, text(*blocks, givens=givens, rules=rules), **({"zone_changes": ((0, 0),)} | genesis))


def read_on(chain: Chain, period: int, **used_wh: int) -> None:
    """Every home reports the end of a period, the last one of which closes it; used_wh: registers, of the import."""
    homes = [row.name for _, row in chain.machine.state.accounts.items() if not row.left_s]
    readings = [chain.reading(home, period, used_wh.get(home, 0)) for home in homes]
    chain.block(*readings, time_s=max(chain.now_s + 1, period_s(period + 1)))


def claim_u(chain: Chain, home: str) -> int:
    """What the community owes a home, or is owed."""
    return chain.claims().get(account(home), 0)
