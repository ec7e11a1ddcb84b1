"""Node: the nursery - every task of a running node, and how they hang together, on one page.

    meters -> collectors -> microgrid (outbox, mempool, gossip) -> consensus -> ledger -> views -> web

One libp2p host, one list of microgrids, one collector a meter, one web server a
microgrid. When any of them fails for good the whole node ends, and the service
manager starts it again clean.
"""

from __future__ import annotations

import logging
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import trio

from meshnode import config as configuration
from meshnode import keys
from meshnode.admission import Admission
from meshnode.collector import Collector, Sample
from meshnode.config import KEYS_DIRECTORY, TOKEN_FILE, Config, ConfigError
from meshnode.invitations import Invitations
from meshnode.keys import DEVICE_KEY, MEMBER_KEY, SignatureCheck, SigningKey
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from meshnode.microgrid import Microgrid, replay
from meshnode.network.gossip import TOPICS, topic
from meshnode.network.joining import keep_door
from meshnode.network.libp2p import open_libp2p
from meshnode.network.transport import PeerId, Transport
from meshnode.outbox import Outbox
from meshnode.store import Store, read_genesis
from meshnode.views import Views
from meshnode.web.server import serve
from protocols.records import Genesis, Reading, read_as, to_payload

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# 256 bits, which nobody guesses.
TOKEN_BYTES = 32
# Fewer characters than that can be tried out on the spot.
SHORTEST_TOKEN = 16

Progress = Callable[[str, int, int], None]
"""(what, done, of how many): shown while a ledger is executed again at the start."""


def chains(directory: Path) -> list[str]:
    """Chain ids (hex) of the microgrids whose ledgers lie in a node's directory, sorted."""
    place = directory / configuration.MICROGRIDS_DIRECTORY
    return sorted(path.parent.name for path in place.glob("*/genesis.cbor"))


def read_token(directory: Path) -> str:
    """The token that the write endpoints ask for; made at the first start, mode 0600.

    Raises:
        ConfigError: others can read it, or it is no token.
    """
    path = directory / TOKEN_FILE
    try:
        mode, token = stat.S_IMODE(path.stat().st_mode), path.read_text(errors="replace").strip()
    except FileNotFoundError:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        # Written beside it and moved into place: a power cut must not leave an empty token.
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        return token
    if mode & 0o077:
        raise ConfigError(f"{path}: others can read the token\n    run: chmod 600 {path}")
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"{path}: {len(token)} characters, a token has at least {SHORTEST_TOKEN}\n"
            "    remove the file, the node makes another"
        )
    return token


class Node:
    """A node that is being run; `ready` once everything listens."""

    def __init__(self, directory: Path, settings: Config, progress: Progress) -> None:
        """Reads configuration and keys; nothing listens yet.

        Raises:
            ConfigError, KeyFileError: what a person must mend.
        """
        self.directory = directory
        self.settings = settings
        self.microgrids: list[Microgrid] = []
        self.web_addresses: list[str] = []
        # Multiaddresses for neighbours, and for newcomers.
        self.addresses: list[str] = []
        self.doors: list[str] = []
        self.device = keys.load(directory / KEYS_DIRECTORY / DEVICE_KEY)
        self.member = keys.load(directory / KEYS_DIRECTORY / MEMBER_KEY)
        self._meter_keys = {
            meter.metering_point: keys.load(directory / KEYS_DIRECTORY / meter.key) for meter in settings.meter
        }
        self._chains = chains(directory)
        if not self._chains:
            raise ConfigError(
                f"{directory}: this node belongs to no microgrid yet\n"
                "    found one with: meshnode init, or join one with: meshnode join"
            )
        self._members: dict[bytes, frozenset[PeerId]] = {}
        self._token = read_token(directory)
        self._progress = progress
        # Jitter and nonces; nothing that the ledger computes depends on it.
        self._random = Random(secrets.randbits(128))

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; raises what ends the node (StoreError, ListenError, ConfigError)."""
        wanted = [topic(bytes.fromhex(chain), name) for chain in self._chains for name in TOPICS]
        async with AsyncExitStack() as stack:
            transport = await stack.enter_async_context(
                open_libp2p(self.device.seed, self.settings.network.listen, wanted)
            )
            self.addresses += transport.addresses
            for chain in self._chains:
                grid = await stack.enter_async_context(self._open(bytes.fromhex(chain), transport))
                self.microgrids.append(grid)
            async with trio.open_nursery() as nursery:
                for grid in self.microgrids:
                    section = self.settings.microgrid.get(grid.chain_id.hex(), configuration.Microgrid())
                    grid.dial(section.peers)
                    await nursery.start(grid.run)
                    address = await nursery.start(serve, grid, self._token, self._web_listen(len(self.web_addresses)))
                    self.web_addresses.append(address)
                    if section.joining:
                        await self._keep_door(nursery, grid, section, transport)
                self._start_collectors(nursery)
                task_status.started()

    async def _keep_door(
        self, nursery: trio.Nursery, grid: Microgrid, section: configuration.Microgrid, transport: Transport
    ) -> None:
        """Let newcomers in whom this node's owner, an administrator, has invited."""
        invitations = Invitations(self.directory, grid.chain_id)
        admission = Admission(grid, self.member, invitations, lambda: int(time.time()))
        door: Transport = await nursery.start(
            partial(
                keep_door,
                self.device.seed,
                section.joining,
                grid.chain_id,
                to_payload(grid.machine.genesis),
                lambda: (*transport.addresses, *section.peers),
                admission.check,
                admission.admit,
            )
        )
        self.doors += door.addresses

    def _web_listen(self, number: int) -> str:
        """The first microgrid's page is where the settings say, the others' on the ports after it."""
        host, _, port = self.settings.web.listen.rpartition(":")
        if not port.isdigit():
            raise ConfigError(
                f'web.listen: {self.settings.web.listen!r} is no address\n    write: listen = "127.0.0.1:8170"'
            )
        return f"{host}:{int(port) + number if int(port) else 0}"

    @asynccontextmanager
    async def _open(self, chain_id: bytes, transport: Transport) -> AsyncIterator[Microgrid]:
        """Open a ledger and execute it up to where it stands."""
        store = await trio.to_thread.run_sync(Store.open, self.directory, chain_id)
        with store:
            genesis = read_as(Genesis, read_genesis(store.place))
            check = SignatureCheck()
            mechanisms = installed_mechanisms()
            machine = Machine(genesis, chain_id, mechanisms, check)
            views = Views.open(store.place, genesis, store.final_height())
            outbox = Outbox.open(store.place, chain_id)
            try:
                await trio.to_thread.run_sync(
                    replay, machine, store, views, lambda done, of: self._progress("replaying the ledger", done, of)
                )
                yield Microgrid(
                    self.settings.name,
                    store,
                    views,
                    outbox,
                    machine,
                    check,
                    transport,
                    self.device,
                    self.member,
                    self.settings.timing,
                    mechanisms,
                    self._random,
                    lambda peers: self._admit(transport, chain_id, peers),
                )
            finally:
                outbox.close()
                views.close()

    def _admit(self, transport: Transport, chain_id: bytes, peers: frozenset[PeerId]) -> None:
        """The gate is the host's: it lets in the members of every microgrid the node is in."""
        self._members[chain_id] = peers
        transport.admit(frozenset().union(*self._members.values()))

    def _start_collectors(self, nursery: trio.Nursery) -> None:
        """One task a meter; its readings go to every microgrid whose ledger knows the meter."""
        main = self.microgrids[0]
        for section in self.settings.meter:
            key = self._meter_keys[section.metering_point]

            async def on_reading(record: Reading, signer: SigningKey, hold: int) -> None:
                for grid in self.microgrids:
                    if grid.wants(record):
                        # Held back or not, the next measurement must not wait for it.
                        nursery.start_soon(grid.reading, record, signer, hold)

            async def on_sample(sample: Sample, signer: SigningKey) -> None:
                for grid in self.microgrids:
                    await grid.sample(sample, signer)

            collector = Collector(
                section,
                key,
                main.clock,
                lambda: main.machine.rules().period.length_s,
                main.first_period_s,
                on_reading,
                on_sample,
                self._random,
            )
            for grid in self.microgrids:
                grid.collectors.append(collector)
            nursery.start_soon(collector.run)
