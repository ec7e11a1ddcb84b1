"""Contracts: what two members have promised one another, which comes before any order under it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from meshnode.ledger import assets, rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols.records import ContractEnd, ContractOffer, ContractSign

# A supplier has one with each member of a full community. Only who offers counts: else strangers'
# offers could fill up anybody's list.
MAX_CONTRACTS_PER_ACCOUNT = 2000
# What is left out of a service level.
NOT_AGREED = -1
# In this role a member supplies the other party, and may bind its orders and what it owes.
SUPPLIER = "supplier"
# Who has agreed on no priority comes after all who have; the last that can be agreed on is 255.
NO_PRIORITY = 256

Item = TypeVar("Item")


def offer(state: State, step: ContractOffer, contract_id: bytes, account: bytes, time_s: int) -> Verdict:
    """One member offers a contract to another."""
    fault = assets.fault_of_receiver(state, step.to, account)
    if fault:
        return fault
    if not (step.from_s < step.until_s and time_s < step.until_s):
        return Verdict.CONTRACT_TIMES
    if sum(row.offered_by == account for _, row in of(state, account)) >= MAX_CONTRACTS_PER_ACCOUNT:
        return Verdict.TOO_MANY_CONTRACTS
    level = step.service
    state.contracts.put(
        contract_id,
        rows.Contract(
            offered_by=account,
            to=step.to,
            role=step.role,
            terms=step.terms,
            from_s=step.from_s,
            until_s=step.until_s,
            status=rows.CONTRACT_OFFERED,
            maximum_power_w=_or_not_agreed(level.maximum_power_w),
            priority=_or_not_agreed(level.priority),
            source=level.source or "",
            price_cap_u_kwh=_or_not_agreed(level.price_cap_u_kwh),
            response_time_s=_or_not_agreed(level.response_time_s),
        ),
    )
    state.contracts_of.put((account, contract_id), rows.ContractOf(step.to))
    state.contracts_of.put((step.to, contract_id), rows.ContractOf(account))
    return Verdict.ACCEPTED


def sign(state: State, step: ContractSign, account: bytes, time_s: int) -> Verdict:
    """The other party agrees."""
    contract = state.contracts.get(step.contract)
    if contract is None:
        return Verdict.UNKNOWN_CONTRACT
    if account != contract.to:
        return Verdict.NOT_A_PARTY
    if contract.status == rows.CONTRACT_SIGNED:
        return Verdict.CONTRACT_SIGNED
    if contract.status == rows.CONTRACT_ENDED or contract.until_s <= time_s:
        return Verdict.CONTRACT_ENDED
    signed = msgspec.structs.replace(contract, status=rows.CONTRACT_SIGNED, signed_s=time_s)
    state.contracts.put(step.contract, signed)
    return Verdict.ACCEPTED


def end(state: State, step: ContractEnd, account: bytes, time_s: int) -> Verdict:
    """One of the parties ends it, from this block on."""
    contract = state.contracts.get(step.contract)
    if contract is None:
        return Verdict.UNKNOWN_CONTRACT
    if account not in (contract.offered_by, contract.to):
        return Verdict.NOT_A_PARTY
    if contract.status == rows.CONTRACT_ENDED or contract.until_s <= time_s:
        return Verdict.CONTRACT_ENDED
    state.contracts.put(step.contract, msgspec.structs.replace(contract, status=rows.CONTRACT_ENDED, until_s=time_s))
    return Verdict.ACCEPTED


def in_force(state: State, account: bytes, other: bytes, time_s: int) -> list[tuple[bytes, rows.Contract]]:
    """The signed contracts between two members that hold at a time, in order of their ids."""
    return [(contract_id, row) for contract_id, row in of(state, account) if _holds(row, account, other, time_s)]


def supplies(row: rows.Contract, account: bytes, time_s: int) -> bool:
    """Whether an account is supplied under a contract at a time."""
    signed = row.status == rows.CONTRACT_SIGNED and row.from_s <= time_s < row.until_s
    return signed and row.role == SUPPLIER and row.to == account


def priorities(state: State, supplier: bytes, at_s: int) -> dict[bytes, int]:
    """Whom a supplier serves first when there is not enough for all: a number by customer, the lowest comes first.

    Those of the contracts that held at a time, signed before it, whatever became of them since: what was agreed
    afterwards pushes nobody back. Who has several contracts has the best of their numbers.
    """
    found: dict[bytes, int] = {}
    for _, row in of(state, supplier):
        signed = row.signed_s != rows.NOT_SIGNED and max(row.signed_s, row.from_s) <= at_s < row.until_s
        supplied = row.role == SUPPLIER and row.offered_by == supplier and row.priority != NOT_AGREED
        if signed and supplied:
            found[row.to] = min(found.get(row.to, NO_PRIORITY), row.priority)
    return found


def in_turn(
    state: State, at_s: int, items: Sequence[Item], parties: Callable[[Item], tuple[bytes, bytes]]
) -> list[Item]:
    """What suppliers are to do for customers, in the order in which they do it.

    A supplier's own places are filled with its items by the priority of their customers, equal ones in the order in
    which they are given; nobody else's place changes.

    Args:
        at_s: when the contracts hold that tell.
        parties: of an item, as (supplier, customer).
    """
    by_supplier: dict[bytes, list[Item]] = {}
    for item in items:
        by_supplier.setdefault(parties(item)[0], []).append(item)
    turns: dict[bytes, Iterator[Item]] = {}
    for supplier, own in by_supplier.items():
        # Who has one thing to do only needs no order for it.
        numbers = priorities(state, supplier, at_s) if len(own) > 1 else {}
        turns[supplier] = iter(sorted(own, key=partial(_number, numbers, parties)))
    return [next(turns[parties(item)[0]]) for item in items]


def of(state: State, account: bytes) -> list[tuple[bytes, rows.Contract]]:
    """An account's contracts, in order of their ids."""
    found = state.contracts_of.range((account, b""), (account, _AFTER_ALL))
    return [(contract_id, state.contracts[contract_id]) for (_, contract_id), _ in found]


def forget(state: State, before_s: int) -> None:
    """Drop contracts whose end is before a time, that of the oldest period that is open; the views keep them."""
    for contract_id, row in state.contracts.items():
        if row.until_s < before_s:
            state.contracts.delete(contract_id)
            for party in (row.offered_by, row.to):
                state.contracts_of.delete((party, contract_id))


# Record ids have 32 bytes.
_AFTER_ALL = b"\xff" * 33


def _holds(row: rows.Contract, account: bytes, other: bytes, time_s: int) -> bool:
    parties = {row.offered_by, row.to} == {account, other}
    return parties and row.status == rows.CONTRACT_SIGNED and row.from_s <= time_s < row.until_s


def _number(numbers: Mapping[bytes, int], parties: Callable[[Item], tuple[bytes, bytes]], item: Item) -> int:
    return numbers.get(parties(item)[1], NO_PRIORITY)


def _or_not_agreed(value: int | None) -> int:
    return NOT_AGREED if value is None else value
