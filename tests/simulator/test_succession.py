"""Succession: what the chain says about who agrees on which height, and what does not pass."""

from __future__ import annotations

import msgspec
import pytest

from protocols.certificate import QuorumConfig
from protocols.records import (
    CHANGE_ADD,
    CHANGE_MODE,
    CHANGE_REMOVE,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
    QuorumChange,
    ValidatorEntry,
)
from tests.protocols.village import START_S, Village, device
from tests.simulator.keys import Keyring
from tests.simulator.succession import Succession, needed, tolerated

DORA = device("dora").public


class Chain:
    """Anna, Bela and Carla agree, Dora follows; blocks are certified one after the other."""

    def __init__(self) -> None:
        self.village = Village(
            4, validators=tuple(ValidatorEntry(device_key=device(home).public) for home in ("anna", "bela", "carla"))
        )
        self.succession = Succession(self.village.genesis, self.village.chain_id, Keyring(real=True))
        self.height = self.nonce = 0

    def change(self, action: int, home: str | None = None, mode: int | None = None) -> bytes:
        """A change of what is decided; its envelope."""
        self.nonce += 1
        change = QuorumChange(
            nonce=self.nonce,
            valid_until_s=START_S + 600,
            previous=self.succession.decided.config_hash(),
            action=action,
            device_key=None if home is None else device(home).public,
            mode=mode,
        )
        envelope = self.village.sign(change, self.village.keys("anna")).envelope_bytes
        self.succession.said(envelope, change)
        return envelope

    def certify(
        self,
        *records: bytes,
        validators: QuorumConfig | None = None,
        following: QuorumConfig | None = None,
        state_height: int | None = None,
    ) -> str | None:
        """The next block, which names those in force unless something else is said."""
        self.height += 1
        known, block_hash = self.succession, self.height.to_bytes(32, "big")
        known.written(block_hash, b"".join((b"header", *records)))
        return known.certified(
            self.height,
            self.height - 1 if state_height is None else state_height,
            block_hash,
            (validators or known.in_force).config_hash(),
            (following or known.decided).config_hash(),
        )


@pytest.fixture
def chain() -> Chain:
    return Chain()


def test_sizes_of_quorums() -> None:
    def sizes(mode: int, voters: int) -> tuple[int, int]:
        config = QuorumConfig(mode, tuple((bytes([number]), 0) for number in range(voters)))
        return needed(config), tolerated(config)

    assert [sizes(QUORUM_MAJORITY, voters) for voters in (3, 4, 5, 7)] == [(2, 1), (3, 1), (3, 2), (4, 3)]
    assert [sizes(QUORUM_BYZANTINE, voters) for voters in (4, 7, 10)] == [(3, 1), (5, 2), (7, 3)]


def test_a_change_is_decided_announced_and_then_in_force(chain: Chain) -> None:
    founded = chain.succession.in_force
    assert chain.certify(chain.change(CHANGE_ADD, "dora"), following=founded) is None
    assert chain.succession.decided.has(DORA) and not chain.succession.in_force.has(DORA)
    assert chain.certify(following=founded, state_height=0) is None, "the leader had not executed it yet"
    assert chain.certify() is None
    assert chain.succession.in_force.has(DORA)
    assert chain.succession.numbers[DORA] == 4


def test_a_block_of_others_than_those_in_force_is_found_out(chain: Chain) -> None:
    founded = chain.succession.in_force
    chain.certify(chain.change(CHANGE_ADD, "dora"), following=founded)
    fault = chain.certify(validators=chain.succession.decided)
    assert fault == "block 2 was agreed on by others than those in force"


def test_a_change_that_is_announced_too_late_is_found_out(chain: Chain) -> None:
    founded = chain.succession.in_force
    chain.certify(chain.change(CHANGE_ADD, "dora"), following=founded)
    assert chain.certify(following=founded) == "block 2 announces others than were decided up to height 1"


def test_a_record_counts_once_and_a_change_under_way_bars_the_next(chain: Chain) -> None:
    founded = chain.succession.in_force
    added = chain.change(CHANGE_ADD, "dora")
    chain.certify(added, added, following=founded)
    removed = chain.change(CHANGE_REMOVE, "anna")
    assert chain.certify(removed) is None
    assert len(chain.succession.in_force.voters) == 4, "it came while the other one was under way"
    chain.certify(chain.change(CHANGE_REMOVE, "dora"), following=chain.succession.in_force)
    chain.certify(added)
    assert chain.succession.in_force == founded


def test_who_comes_back_has_a_new_session_and_the_old_number(chain: Chain) -> None:
    for action in (CHANGE_ADD, CHANGE_REMOVE, CHANGE_ADD):
        chain.certify(chain.change(action, "dora"), following=chain.succession.in_force)
        chain.certify()
    assert dict(chain.succession.in_force.voters)[DORA] == 1
    assert chain.succession.numbers[DORA] == 4


def test_a_configuration_that_comes_again_is_the_newest_again(chain: Chain) -> None:
    chain.certify(chain.change(CHANGE_ADD, "dora"), following=chain.succession.in_force)
    chain.certify()
    for mode in (QUORUM_BYZANTINE, QUORUM_MAJORITY):
        chain.certify(chain.change(CHANGE_MODE, mode=mode), following=chain.succession.in_force)
        chain.certify()
    found = chain.succession.configs
    assert len(found) == 4 and found[1] == found[3] == chain.succession.in_force


def test_what_the_ledger_refuses_changes_nothing(chain: Chain) -> None:
    founded = chain.succession.in_force
    for envelope in (
        chain.change(CHANGE_REMOVE, "carla"),
        chain.change(CHANGE_ADD, "carla"),
        chain.change(CHANGE_REMOVE, "dora"),
        chain.change(CHANGE_ADD, "nobody"),
        chain.change(CHANGE_MODE, mode=QUORUM_BYZANTINE),
        chain.change(CHANGE_MODE, mode=QUORUM_MAJORITY),
    ):
        assert chain.certify(envelope) is None
        assert chain.succession.decided == founded


def test_a_certificate_needs_enough_of_those_in_force(chain: Chain) -> None:
    chain.certify()
    village = chain.village
    block = village.block()
    good = village.certificate(block, ["anna", "carla"])
    assert chain.succession.fault_of(good) is None
    assert chain.succession.fault_of(village.certificate(block, ["anna"])) == (
        "height 1: 1 of those in force have signed, 2 must"
    )
    stranger = village.certificate(block, ["anna", "dora"])
    assert chain.succession.fault_of(stranger) == "height 1: 1 of those in force have signed, 2 must"
    of_others = village.certificate(block, ["anna", "bela"], validators=bytes(32))
    assert chain.succession.fault_of(of_others) == "the certificate of height 1 names others than those in force"
    later = village.certificate(village.block(head={"height": 3}))
    assert chain.succession.fault_of(later) == "height 3 is not certified"


def test_forged_signatures_do_not_count(chain: Chain) -> None:
    chain.certify()
    village = chain.village
    block = village.block()
    rows = sorted([(device("anna").key_id, village.ack(block, "anna")[2]), (device("bela").key_id, bytes(64))])
    forged = msgspec.structs.replace(village.certificate(block, ["anna"]), signatures=tuple(rows))
    assert chain.succession.fault_of(forged) == "height 1: 1 of those in force have signed, 2 must"
