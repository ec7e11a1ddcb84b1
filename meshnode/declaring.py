"""Declaring: a node says on the ledger what it can execute, by itself, whenever that is something else than before."""

from __future__ import annotations

from collections.abc import Callable

import trio

from meshnode.keys import SigningKey
from meshnode.machine import Machine
from meshnode.network.gossip import Gossip
from meshnode.submissions import Submissions
from protocols.block import sign_record
from protocols.records import Support

# How often a newcomer looks whether it has caught up as far as its own admission.
LOOK_S = 1.0


async def declare_support(
    machine: Machine,
    device: SigningKey,
    submissions: Submissions,
    gossip: Gossip,
    spoken: Callable[[], tuple[int, int]],
    is_retired: Callable[[], bool],
) -> None:
    """Declare it once, if the ledger does not know it yet: at the first start, and after an upgrade.

    Args:
        spoken: gives the nonce and the end of validity of a record that is signed now.
        is_retired: whether the device key never signs again.
    """
    while is_retired() or not machine.height or device.key_id not in machine.state.keys:
        # Before the first block there is nobody who could take it, and a newcomer's
        # ledger does not know the newcomer before it has caught up.
        await trio.sleep(LOOK_S)
    has = machine.abilities
    if machine.state.support.get(device.key_id) == has:
        return
    nonce, valid_until_s = spoken()
    record = Support(nonce=nonce, valid_until_s=valid_until_s, catalogue=has.catalogue, mechanisms=has.mechanisms)
    await submissions.hand_in(sign_record(record, machine.chain_id, device.public, device.sign), gossip)
