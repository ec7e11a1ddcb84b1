"""Execution: what each kind of record does when a final block carries it. Pure.

One module a noun, each with its table {record type: (key purpose, handler)}; the machine looks
into all of them together. A handler reads what it needs of its `Call`, lets the ledger's
modules write, and says with a verdict whether the record took effect.
"""

from meshnode.execution import (
    agents,
    agreement,
    auctions,
    contracts,
    credit,
    delivery,
    energy,
    feeds,
    governance,
    joining,
    membership,
    orders,
    origin,
    parameters,
    partners,
    tokens,
)
from meshnode.execution.call import Call, Handlers, Ledger, merged

EXECUTED: Handlers = merged(
    joining.EXECUTED,
    membership.EXECUTED,
    energy.EXECUTED,
    tokens.EXECUTED,
    contracts.EXECUTED,
    credit.EXECUTED,
    parameters.EXECUTED,
    orders.EXECUTED,
    auctions.EXECUTED,
    agents.EXECUTED,
    partners.EXECUTED,
    delivery.EXECUTED,
    agreement.EXECUTED,
    origin.EXECUTED,
    feeds.EXECUTED,
    governance.EXECUTED,
)
"""Which of a member's keys signs which record, and what carries it out. What is not listed is not executed."""

__all__ = ["EXECUTED", "Call", "Handlers", "Ledger"]
