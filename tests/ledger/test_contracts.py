"""Contracts: offered, signed, in force for a time, ended."""

from __future__ import annotations

from meshnode.ledger import contracts
from meshnode.ledger.verdicts import Verdict
from tests.ledger import tokens
from tests.ledger.chain import Chain, account
from tests.ledger.tokens import DAY_S


def test_a_contract_from_offer_to_end() -> None:
    chain = Chain()
    offered = tokens.contract(chain, "anna", "bela")
    begin_s = chain.now_s
    assert chain.say(offered) == Verdict.ACCEPTED
    assert in_force(chain, "anna", "bela", chain.now_s) == []
    assert chain.say(tokens.sign(chain, "bela", offered)) == Verdict.ACCEPTED
    for first, second in (("anna", "bela"), ("bela", "anna")):
        assert in_force(chain, first, second, chain.now_s) == [offered.record_id]
    assert in_force(chain, "anna", "carla", chain.now_s) == []
    assert in_force(chain, "anna", "bela", begin_s - 1) == in_force(chain, "anna", "bela", begin_s + 30 * DAY_S) == []
    row = chain.machine.state.contracts[offered.record_id]
    assert (row.maximum_power_w, row.price_cap_u_kwh, row.source, row.priority) == (3000, 280_000, "solar", -1)
    assert chain.say(tokens.end(chain, "bela", offered)) == Verdict.ACCEPTED
    assert in_force(chain, "anna", "bela", chain.now_s) == []


def test_contracts_leave_the_state_after_their_time() -> None:
    """What has ended is history, which the views keep; a new one can be offered."""
    chain = Chain()
    first, second = tokens.contract(chain, "anna", "bela"), tokens.contract(chain, "bela", "anna")
    chain.block(first, second, tokens.contract(chain, "anna", "carla", until_s=chain.now_s + 400 * DAY_S))
    chain.block(tokens.end(chain, "anna", first))
    for day in (1, 31, 32):
        chain.block(time_s=chain.now_s + day * DAY_S)
    state = chain.machine.state
    assert [row.to for _, row in state.contracts.items()] == [account("carla")]
    assert len(state.contracts_of) == 2


def in_force(chain: Chain, first: str, second: str, time_s: int) -> list[bytes]:
    found = contracts.in_force(chain.machine.state, account(first), account(second), time_s)
    return [contract_id for contract_id, _ in found]
