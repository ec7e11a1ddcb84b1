"""Renewal: a new device key for a node whose old one never signs again.

The node goes on under its old name on the network, where it only follows, and has its
member's key sign a KeyChange. Once the ledger knows the new key, which is noticed on the own
ledger or by the neighbours letting it in, the key files change places and the node
begins anew with it, as a learner. Interrupted at any moment, it goes on at the next start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import trio

from meshnode import keys
from meshnode.clock import GridClock
from meshnode.config import KEYS_DIRECTORY
from meshnode.keys import DEVICE_KEY, SigningKey
from meshnode.ledger.rows import PURPOSE_DEVICE
from meshnode.ledger.state import State
from meshnode.machine import Machine
from meshnode.network.probe import is_let_in
from meshnode.store.place import sync_directory
from meshnode.web.backend import Outcome, Refused
from protocols.records import KeyChange, Record

log = logging.getLogger(__name__)

NEXT_KEY = "next-device.key"
RETIRED_KEYS = "retired-device-*.key"
# How often it is looked how far things have come.
LOOK_S = 1.0
# A record that is not final by then is asked about again; see `KeyChange.valid_until_s`.
OUTCOME_WAIT_S = 5.0
# After a refusal by the ledger or by this node itself.
AGAIN_S = 30.0
# Without any neighbour for so long: have they let go of the old key, because they know the new one?
ALONE_S = 3.0


class Grid(Protocol):
    """What a renewal needs of a running microgrid; `meshnode.microgrid.Microgrid` has it."""

    @property
    def machine(self) -> Machine: ...
    @property
    def account(self) -> bytes: ...
    @property
    def clock(self) -> GridClock: ...
    def nonce(self) -> int: ...
    def valid_until_s(self) -> int: ...
    async def submit(self, record: Record) -> bytes: ...
    async def outcome(self, record_id: bytes, wait_s: float) -> Outcome: ...


def retired_name(key_id: bytes) -> str:
    """File of a device key that is not used any more."""
    return RETIRED_KEYS.replace("*", key_id.hex())


def next_key(directory: Path) -> SigningKey:
    """The key that is to follow; made when it is first asked for. Raises KeyFileError."""
    path = directory / KEYS_DIRECTORY / NEXT_KEY
    if not path.exists():
        keys.save(path, SigningKey.generate())
        sync_directory(path.parent)
    return keys.load(path)


def change_places(directory: Path, old: SigningKey) -> None:
    """The next key is the device key from now on; the old one is kept under a name that nothing loads."""
    place = directory / KEYS_DIRECTORY
    retired = place / retired_name(old.key_id)
    if not retired.exists():
        os.link(place / DEVICE_KEY, retired)
    (place / NEXT_KEY).replace(place / DEVICE_KEY)
    sync_directory(place)


def follows_a_retired_key(directory: Path, state: State, account: bytes) -> bool:
    """Whether a retired device key of this node is one of the account's on the ledger as it is here."""
    found = sorted((directory / KEYS_DIRECTORY).glob(RETIRED_KEYS))
    rows = [state.keys.get(keys.load(path).key_id) for path in found]
    return any(row is not None and row.purpose == PURPOSE_DEVICE and row.account == account for row in rows)


class Renewal:
    """The way from one device key to the next.

    Attributes:
        next: the key to come.
    """

    def __init__(
        self,
        directory: Path,
        old: SigningKey,
        grids: Sequence[tuple[Grid, Sequence[str]]],
        neighbours: Callable[[], int],
        done: Callable[[str], None],
    ) -> None:
        """Args:
        grids: the node's microgrids, each with multiaddresses of neighbours.
        neighbours: how many are connected now.
        done: called when the key files have changed places; has the node begin anew.
        """
        self.next = next_key(directory)
        self._directory = directory
        self._old = old
        self._grids = grids
        self._neighbours = neighbours
        self._done = done

    async def run(self) -> None:
        """Until the new key is in its place."""
        log.warning("a new device key was made: %s; the ledger is asked to take it", self.next.key_id.hex())
        async with trio.open_nursery() as nursery:
            for grid, _ in self._grids:
                nursery.start_soon(self._announce, grid)
            alone_since = trio.current_time()
            while not all(self._is_known(grid) for grid, _ in self._grids):
                await trio.sleep(LOOK_S)
                if self._neighbours():
                    alone_since = trio.current_time()
                elif trio.current_time() - alone_since >= ALONE_S and await self._is_let_in():
                    break
            nursery.cancel_scope.cancel()
        change_places(self._directory, self._old)
        self._done(f"its device key is {self.next.key_id.hex()} now; {self._old.key_id.hex()} is not used any more")

    def _is_known(self, grid: Grid) -> bool:
        row = grid.machine.state.keys.get(self.next.key_id)
        return row is not None and not row.until_height

    async def _is_let_in(self) -> bool:
        """Whether neighbours of every microgrid know the new key."""
        for grid, addresses in self._grids:
            if not await is_let_in(self.next.seed, addresses, grid.machine.chain_id):
                return False
        return True

    async def _announce(self, grid: Grid) -> None:
        """Have the ledger take the new key in the place of the old one."""
        while not self._is_known(grid):
            row = grid.machine.state.keys.get(self._old.key_id)
            if row is None or not grid.account or not self._neighbours():
                await trio.sleep(LOOK_S)
                continue
            if row.until_height:
                log.error(
                    "the ledger has replaced the device key %s before; join this home anew with an invitation",
                    self._old.key_id.hex(),
                )
                return
            record = KeyChange(
                nonce=grid.nonce(),
                valid_until_s=grid.valid_until_s(),
                old_key_id=self._old.key_id,
                new_key=self.next.public,
            )
            try:
                record_id = await grid.submit(record)
            except Refused as refusal:
                log.warning("the new device key was not announced: %s", refusal)
                await trio.sleep(AGAIN_S)
                continue
            while grid.clock.now_s() <= record.valid_until_s and not self._is_known(grid):
                outcome = await grid.outcome(record_id, OUTCOME_WAIT_S)
                if outcome.status == "final":
                    log.info("the ledger on the new device key: %s", outcome.sentence)
                    await trio.sleep(0 if self._is_known(grid) else AGAIN_S)
                    break
