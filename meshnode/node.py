"""Node: the nursery - every task of a running node, and how they hang together, on one page.

    meters -> collectors -> microgrid (outbox, mempool, gossip) -> consensus -> ledger -> views -> web

One libp2p host, one list of microgrids, one collector a meter, one web server a
microgrid, and who stands at its points and storages. When any of them fails for
good the whole node ends, and the service manager starts it again clean.
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

from drivers.driver import driver
from meshnode import config as configuration
from meshnode import keys
from meshnode.admission import Admission
from meshnode.attendant import ATTENDED_FILE, Attendant, simulated_chargers
from meshnode.collector import Collector, Sample
from meshnode.config import KEYS_DIRECTORY, TOKEN_FILE, Config, ConfigError, MeterSection
from meshnode.invitations import Invitations
from meshnode.keys import DEVICE_KEY, MEMBER_KEY, SignatureCheck, SigningKey
from meshnode.ledger.rows import PURPOSE_DEVICE, PURPOSE_MEMBER, PURPOSE_METER
from meshnode.ledger.state import State
from meshnode.machine import Machine
from meshnode.microgrid import Microgrid
from meshnode.network.gossip import TOPICS, topic
from meshnode.network.joining import keep_door
from meshnode.network.libp2p import open_libp2p
from meshnode.network.transport import PeerId, Transport
from meshnode.outbox import Outbox
from meshnode.plugins import install
from meshnode.renewal import Renewal, follows_a_retired_key
from meshnode.replaying import replay
from meshnode.store import Damage, Store, read_genesis
from meshnode.store.place import GENESIS_FILE, MICROGRIDS, genesis_missing, microgrid_directory
from meshnode.storekeeper import STORES_FILE, Storekeeper, simulated_batteries
from meshnode.views import Views
from meshnode.web.backend import Own
from meshnode.web.server import serve
from protocols.records import Genesis, Reading, read_as, to_payload

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

# 256 bits, which nobody guesses.
TOKEN_BYTES = 32
# A card that loses rows faster than a node can begin anew is no card to go on with.
MAX_DAMAGES = 8
# Fewer characters than that can be tried out on the spot.
SHORTEST_TOKEN = 16

Progress = Callable[[str, int, int], None]
"""(what, done, of how many): shown while a ledger is executed again at the start."""

_KINDS = {PURPOSE_DEVICE: "device", PURPOSE_MEMBER: "member", PURPOSE_METER: "meter"}


def chains(directory: Path) -> list[str]:
    """Chain ids (hex) of the microgrids whose ledgers lie in a node's directory, sorted."""
    place = directory / MICROGRIDS
    return sorted(path.parent.name for path in place.glob(f"*/{GENESIS_FILE}"))


def known_chains(directory: Path, settings: Config) -> list[str]:
    """Chain ids (hex) of the node's microgrids, sorted.

    Raises:
        ConfigError: there is none, or the configuration speaks of one that is not here.
        StoreError: a ledger has lost its genesis.
    """
    found = chains(directory)
    for chain in settings.microgrid:
        place = microgrid_directory(directory, bytes.fromhex(chain))
        if chain not in found and place.exists():
            raise genesis_missing(place)
    if not found:
        raise ConfigError(
            f"{directory}: this node belongs to no microgrid yet\n"
            "    found one with: meshnode init, or join one with: meshnode join"
        )
    for chain in settings.microgrid:
        if chain not in found:
            raise ConfigError(
                f"{directory / configuration.CONFIG_FILE}, microgrid.{chain}: this node is in no such microgrid\n"
                f"    it is in {', '.join(found)}; correct or remove the section"
            )
    return found


def meter_key(directory: Path, meter: MeterSection) -> SigningKey:
    """The key of a meter, which the ledger knows since its owner was admitted.

    Raises:
        ConfigError: it has none.
        DriverError: nor is there such a driver.
        KeyFileError: it cannot be used.
    """
    path = directory / KEYS_DIRECTORY / meter.key
    if not path.exists():
        driver(meter.driver)
        raise ConfigError(
            f"{directory / configuration.CONFIG_FILE}, meter {meter.metering_point}: it has no key ({path})\n"
            "    the ledger knows the meters that were named when their member founded or joined (--meter);\n"
            "    remove the section if this one was not, or restore its key from the backup"
        )
    return keys.load(path)


def check_keys(state: State, directory: Path, device: SigningKey, member: SigningKey) -> None:
    """Hold the node's own keys against the ledger.

    A newcomer's ledger knows neither key before it has caught up: that is said in the log, and fine.

    Raises:
        ConfigError: one of them is somebody else's, or of another kind.
    """
    rows_found = []
    for name, key, purpose in ((DEVICE_KEY, device, PURPOSE_DEVICE), (MEMBER_KEY, member, PURPOSE_MEMBER)):
        path, row = directory / KEYS_DIRECTORY / name, state.keys.get(key.key_id)
        if row is not None and row.purpose != purpose:
            raise ConfigError(
                f"{path}: on the ledger this is a {_KINDS[row.purpose]} key of {state.accounts[row.account].name}, "
                f"expected the {_KINDS[purpose]} key\n    restore the right one from the backup"
            )
        rows_found.append((path, row))
    (device_path, device_row), (member_path, member_row) = rows_found
    if device_row is None and member_row is None:
        log.warning("the ledger here does not know this node's keys yet; it has to catch up with its admission")
    elif device_row is None and member_row is not None and follows_a_retired_key(directory, state, member_row.account):
        log.warning("the ledger here does not know the new device key yet; it has to catch up with its change")
    elif device_row is None or member_row is None:
        (unknown, _), (known, row) = sorted(rows_found, key=lambda found: found[1] is not None)
        assert row is not None
        raise ConfigError(
            f"{unknown}: the ledger does not know this key; {known.name} is {state.accounts[row.account].name}'s\n"
            "    restore it from the backup; if it replaces a key, start with the old one until the ledger knows both"
        )
    elif device_row.account != member_row.account:
        names = [state.accounts[row.account].name for row in (device_row, member_row)]
        raise ConfigError(
            f"{device_path}: on the ledger it is the key of {names[0]}, but {member_path.name} that of {names[1]}\n"
            "    restore both keys of one member from the backup"
        )


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
            ConfigError, KeyFileError, DriverError, StoreError: what a person must mend.
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
        self._meter_keys = {meter.metering_point: meter_key(directory, meter) for meter in settings.meter}
        self._chains = known_chains(directory, settings)
        self._members: dict[bytes, frozenset[PeerId]] = {}
        self._token = read_token(directory)
        self._progress = progress
        # Jitter and nonces; nothing that the ledger computes depends on it.
        self._random = Random(secrets.randbits(128))
        self._tasks: trio.CancelScope | None = None
        self._why_anew = ""
        self._damages = 0

    async def run(self, on_ready: Callable[[], None], task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; raises what ends the node (StoreError, ListenError, ConfigError).

        Args:
            on_ready: called whenever everything listens: once, and again when the node has begun anew.
        """
        while True:
            self._why_anew = ""
            try:
                await self._run_once(on_ready, task_status)
            except* Damage as damage:
                # Seen in passing; a new beginning looks at every row and mends what it can.
                self._damages += 1
                if self._damages > MAX_DAMAGES or not self.web_addresses:
                    raise
                self._why_anew = str(damage.exceptions[0])
            if not self._why_anew:
                return
            log.warning("the node begins anew: %s", self._why_anew)
            task_status = trio.TASK_STATUS_IGNORED
            self.device = keys.load(self.directory / KEYS_DIRECTORY / DEVICE_KEY)

    def begin_anew(self, reason: str) -> None:
        """Close everything and open it again, in this process: what is on disk has become another."""
        self._why_anew = self._why_anew or reason
        if self._tasks is not None:
            self._tasks.cancel()

    async def _run_once(self, on_ready: Callable[[], None], task_status: TaskStatus[None]) -> None:
        self.microgrids, self.doors = [], []
        web_addresses: list[str] = []
        self._members.clear()
        wanted = [topic(bytes.fromhex(chain), name) for chain in self._chains for name in TOPICS]
        async with AsyncExitStack() as stack:
            transport = await stack.enter_async_context(
                open_libp2p(self.device.seed, self.settings.network.listen, wanted)
            )
            self.addresses = list(transport.addresses)
            for chain in self._chains:
                grid = await stack.enter_async_context(self._open(bytes.fromhex(chain), transport))
                self.microgrids.append(grid)
            async with trio.open_nursery() as nursery:
                self._tasks = nursery.cancel_scope
                for grid in self.microgrids:
                    section = self._section(grid)
                    grid.dial(section.peers)
                    await nursery.start(grid.run)
                    own = await self._stand_by(nursery, grid)
                    listen = self._web_listen(len(web_addresses))
                    web_addresses.append(await nursery.start(partial(serve, grid, self._token, listen, own=own)))
                    if section.joining:
                        await self._keep_door(nursery, grid, section, transport)
                self._start_collectors(nursery)
                if any(grid.duty.retired for grid in self.microgrids):
                    grids = [(grid, self._section(grid).peers) for grid in self.microgrids]
                    renewal = Renewal(
                        self.directory, self.device, grids, lambda: len(transport.peers()), self.begin_anew
                    )
                    nursery.start_soon(renewal.run)
                self.web_addresses = web_addresses
                task_status.started()
                on_ready()

    async def _stand_by(self, nursery: trio.Nursery, grid: Microgrid) -> Own:
        """Those who deliver at this node's points in a microgrid, and keep its storages."""
        place, meters = (
            microgrid_directory(self.directory, grid.chain_id),
            keys.of_meters(self.directory / KEYS_DIRECTORY),
        )
        attendant = Attendant(grid, place / ATTENDED_FILE, meters, simulated_chargers(self.directory, grid.clock))
        storekeeper = Storekeeper(grid, place / STORES_FILE, meters, simulated_batteries(place))
        await nursery.start(attendant.run)
        await nursery.start(storekeeper.run)
        return Own(attendant, storekeeper)

    def _section(self, grid: Microgrid) -> configuration.Microgrid:
        """What the settings say of a microgrid."""
        return self.settings.microgrid.get(grid.chain_id.hex(), configuration.Microgrid())

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
        grid.door = door
        self.doors += door.addresses

    def _web_listen(self, number: int) -> str:
        """The first microgrid's page is where the settings say, the others' on the ports after it."""
        place = f"{self.directory / configuration.CONFIG_FILE}, web.listen"
        host, port = configuration.web_address(self.settings.web.listen, place)
        return f"{host}:{port + number if port else 0}"

    @asynccontextmanager
    async def _open(self, chain_id: bytes, transport: Transport) -> AsyncIterator[Microgrid]:
        """Open a ledger and execute it up to where it stands."""
        store = await trio.to_thread.run_sync(Store.open, self.directory, chain_id)
        with store:
            genesis = read_as(Genesis, read_genesis(store.place))
            check = SignatureCheck()
            mechanisms = install()
            machine = Machine(genesis, chain_id, mechanisms, check)
            views = Views.open(store.place, genesis, store.kept_height())
            outbox = Outbox.open(store.place, chain_id)
            try:
                await trio.to_thread.run_sync(
                    replay, machine, store, views, lambda done, of: self._progress("replaying the ledger", done, of)
                )
                check_keys(machine.state, self.directory, self.device, self.member)
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
                    self.begin_anew,
                    self.settings.microgrid.get(chain_id.hex(), configuration.Microgrid()).replace_after_s,
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
