"""Genesis: what may found a microgrid."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocols.cose import key_id_of
from protocols.records import (
    CLOCK_DEMONSTRATION,
    QUORUM_BYZANTINE,
    Clock,
    Genesis,
    MemberEntry,
    MeterEntry,
    ValidatorEntry,
    account_id_of,
    chain_id,
    genesis_faults,
    meter_id_of,
)
from tests.protocols.keys import key_pair
from tests.protocols.village import START_S, Village, device

VILLAGE = Village()
MEMBERS = VILLAGE.genesis.members


def changed(**changes: Any) -> tuple[str, ...]:
    return genesis_faults(msgspec.structs.replace(VILLAGE.genesis, **changes))


def test_a_village_can_be_founded() -> None:
    assert genesis_faults(VILLAGE.genesis) == ()
    assert changed(clock=Clock(kind=CLOCK_DEMONSTRATION, speed=180, origin_s=START_S)) == ()
    assert genesis_faults(Village(4, quorum_mode=QUORUM_BYZANTINE).genesis) == ()


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"format_version": 2}, "format_version: found 2, this version reads 1"),
        ({"zone_changes": ((START_S + 1, 3600),)}, "the first offset must hold at start_s"),
        ({"clock": Clock(kind=0, speed=2)}, "a real clock has no speed"),
        ({"clock": Clock(kind=0, origin_s=1)}, "a real clock has no speed, no origin"),
        ({"clock": Clock(kind=0, shows_s=START_S)}, "and shows the real time"),
        (
            {
                "members": (
                    *MEMBERS,
                    msgspec.structs.replace(MEMBERS[0], member_key=bytes(32), device_key=None, meters=()),
                )
            },
            "the name 'anna' stands twice",
        ),
        (
            {"members": (*MEMBERS, MemberEntry(name="otto", roles=("consumer",), member_key=MEMBERS[0].member_key))},
            f"two keys have the id {key_id_of(MEMBERS[0].member_key).hex()}",
        ),
        (
            {"members": (*MEMBERS, MemberEntry(name="otto", roles=("consumer",), member_key=device("anna").public))},
            f"two keys have the id {device('anna').key_id.hex()}",
        ),
        (
            {"validators": (*VILLAGE.genesis.validators, ValidatorEntry(device_key=device("anna").public, epoch=1))},
            f"{device('anna').key_id.hex()} stands twice",
        ),
        (
            {"validators": (ValidatorEntry(device_key=device("nobody").public),)},
            f"{device('nobody').key_id.hex()} is no member's device key",
        ),
        ({"quorum_mode": QUORUM_BYZANTINE}, "byzantine quorums need 4, 7 or 10 validators, found 3"),
    ],
)
def test_what_cannot_be_put_right_later_is_refused_before(changes: dict[str, Any], fault: str) -> None:
    faults = changed(**changes)
    assert len(faults) == 1 and fault in faults[0]


def test_all_mistakes_are_named_at_once() -> None:
    assert len(changed(format_version=9, clock=Clock(kind=0, speed=5), quorum_mode=QUORUM_BYZANTINE)) == 3


def test_a_genesis_must_fit_into_a_frame() -> None:
    crowd = tuple(
        MemberEntry(
            name=f"member {number}",
            roles=("consumer", "producer"),
            member_key=number.to_bytes(32, "big"),
            meters=tuple(
                MeterEntry(meter_key=(number * 100 + meter).to_bytes(32, "little"), metering_point="x" * 48)
                for meter in range(16)
            ),
        )
        for number in range(1, 601)
    )
    (fault,) = changed(members=(*MEMBERS, *crowd))
    assert fault.startswith("genesis: ") and fault.endswith(" bytes, the limit is 786432")
    assert changed(members=(*MEMBERS, *crowd[:400])) == ()


def test_the_chain_id_is_the_hash_of_everything_in_the_genesis() -> None:
    other: Genesis = msgspec.structs.replace(VILLAGE.genesis, max_drift_s=11)
    assert chain_id(other) != chain_id(VILLAGE.genesis) == VILLAGE.chain_id


def test_accounts_and_meters_of_one_key_have_unlike_ids() -> None:
    key = key_pair("anna").public
    assert len(account_id_of(key)) == 16 and len(meter_id_of(key)) == 8
    assert account_id_of(key)[:8] != meter_id_of(key) != key_id_of(key) != account_id_of(key)[:8]
