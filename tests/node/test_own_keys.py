"""Own keys: a node's two keys are held against the ledger before it takes part."""

import logging
from pathlib import Path

import pytest

from meshnode.config import ConfigError
from meshnode.founding import NodeKeys, found
from meshnode.keys import SigningKey, verify
from meshnode.ledger.state import State
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.node import check_keys
from protocols.records import chain_id
from zencode.presets import preset

PLACE = Path("/node")


def keys(number: int) -> NodeKeys:
    return NodeKeys(SigningKey(bytes([number]) * 32), SigningKey(bytes([number + 100]) * 32), {})


ANNA, BELA, ZORA = keys(1), keys(2), keys(3)


@pytest.fixture(name="state")
def _state() -> State:
    """A ledger with Anna and Bela, but no Zora."""
    members = [ANNA.entry("anna", ["administrator"]), BELA.entry("bela", ["prosumer"])]
    genesis = found("Via Verdi", preset("mid-market-village"), members, [ANNA.device.public], start_s=1_800_000_000)
    return Machine(genesis, chain_id(genesis), installed_mechanisms(), verify).state


def test_keys_of_one_member_are_fine(state: State, caplog: pytest.LogCaptureFixture) -> None:
    check_keys(state, PLACE, ANNA.device, ANNA.member)
    check_keys(state, PLACE, BELA.device, BELA.member)
    assert not caplog.messages


def test_a_newcomer_whose_ledger_is_behind_its_admission_may_start(
    state: State, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        check_keys(state, PLACE, ZORA.device, ZORA.member)
    assert caplog.messages == [
        "the ledger here does not know this node's keys yet; it has to catch up with its admission"
    ]


@pytest.mark.parametrize(
    ("device", "member", "message"),
    [
        (
            ANNA.device,
            BELA.member,
            "/node/keys/device.key: on the ledger it is the key of anna, but member.key",
        ),
        (ZORA.device, ANNA.member, "/node/keys/device.key: the ledger does not know this key; member.key is anna's"),
        (ANNA.device, ZORA.member, "/node/keys/member.key: the ledger does not know this key; device.key is anna's"),
        (ANNA.device, BELA.device, "/node/keys/member.key: on the ledger this is a device key of bela, expected the"),
    ],
)
def test_other_peoples_keys_are_refused(state: State, device: SigningKey, member: SigningKey, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_keys(state, PLACE, device, member)
    assert str(refused.value).startswith(message) and "from the backup" in str(refused.value)
