"""Storekeeper: this node's storages - what flows into them and out, for whom, and what it says of that on the ledger.

After every settlement period the storage is told to take in what its members had over and to give what they lacked
(`meshnode.settlement.keeping`); what it really did is reported, signed by its meter's key. Each step is written down
before the next, and a record that was signed is the same one until it is known what became of it: a node that
is killed at any moment neither loses a Wh of the registers nor reports one twice. A reading that is corrected later
moves nothing again: whose energy it was is worked out anew, and the ledger is told the difference.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from meshnode.actuator import ActuatorError, write_whole
from meshnode.battery import Battery, SimulatedBattery
from meshnode.config import ConfigError
from meshnode.keys import SigningKey
from meshnode.ledger.rows import PERIOD_FINAL
from meshnode.moved import Moved, MovedBook
from meshnode.settlement import keeping
from meshnode.settlement.keeping import Parts
from meshnode.views import END_S, MAX_ROWS
from meshnode.web.backend import Backend, NotHere, Refused, StoreKept
from protocols.block import sign_record
from protocols.records import Stored

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)

STORES_FILE = "stores.json"
# Periods close every quarter of an hour; this is how soon the storage hears of it, in real seconds.
LOOK_S = 1.0
# A report is final in seconds, or it is asked for again.
WAIT_S = 10
VALID_S = 600
NONCE_BITS = 63


class _Store(msgspec.Struct, kw_only=True):
    """One storage. period_s: handled last. plan: of the period after it, begun and not noted as done; else none.

    left, planned: what the plan was made from, and the plan before the battery's power bounded it. corrections: of the
    period by then. due: moved and not reported. fixes: what a correction of the period fixed_s changes of what was
    reported. mended: that period as it is then, while it is not noted. sent: the envelope of a report that it is not
    known of what became of it, in hex, or empty; parts: what it reports.
    """

    capacity_wh: int
    power_w: int
    period_s: int
    next_s: int = 0
    plan: dict[str, tuple[int, int]] | None = None
    left: dict[str, tuple[int, int]] = {}
    planned: dict[str, tuple[int, int]] = {}
    corrections: int = 0
    fixes: dict[str, tuple[int, int]] = {}
    fixed_s: int = 0
    mended: Moved | None = None
    due: dict[str, tuple[int, int]] = {}
    sent: str = ""
    sent_id: str = ""
    sent_until_s: int = 0
    parts: dict[str, tuple[int, int]] = {}


class Storekeeper:
    """See the module text.

    Args:
        node: this node in one microgrid.
        path: the file that says which storages it keeps, and how far each is.
        meters: the keys of this node's meters, by the meter's id.
        open_battery: (asset, Wh of capacity, efficiency in ppm) to the battery.
    """

    def __init__(
        self,
        node: Backend,
        path: Path,
        meters: Mapping[bytes, SigningKey],
        open_battery: Callable[[str, int, int], Battery],
    ) -> None:
        self._node = node
        self._path = path
        self._meters = meters
        self._open = open_battery
        self._stores: dict[str, _Store] = {}
        self._books: dict[str, MovedBook] = {}
        self._said: dict[str, str] = {}
        self._writing = trio.Lock()

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep them until cancelled. Raises ConfigError: the file is none of ours."""
        self._stores = await trio.to_thread.run_sync(_read, self._path)
        task_status.started()
        while True:
            for code in list(self._stores):
                await self._look_after(code)
            await trio.sleep(LOOK_S)

    async def start(self, code: str, capacity_wh: int, power_w: int) -> None:
        """Keep a storage with a simulated battery from now on; of one that is kept, capacity and power change.

        Raises:
            NotHere: there is no such storage, or its meter is not one of this node's.
            Refused: the disk refuses.
        """
        storage = self._node.machine.state.storages.get(code)
        if storage is None or storage.meter not in self._meters:
            raise NotHere(f"{code} is in no storage of this node; give the command at the node that has its meter")
        known = self._stores.get(code)
        if known is None:
            # What was left over before it was kept has gone to the grid.
            last_s = self._node.machine.next_period_s - 1
            self._stores[code] = _Store(capacity_wh=capacity_wh, power_w=power_w, period_s=last_s)
        else:
            known.capacity_wh, known.power_w = capacity_wh, power_w
        try:
            await self._note()
        except ActuatorError as error:
            if known is None:
                del self._stores[code]
            raise Refused(str(error), lasting=False) from error

    async def stop(self, code: str) -> None:
        """Move nothing for a storage any more; what is due is still reported. Raises NotHere, Refused."""
        await self.start(code, 0, 0)

    def kept(self, code: str) -> StoreKept | None:
        """What this node does for a storage; None if it is not kept here."""
        store = self._stores.get(code)
        if store is None:
            return None
        into_wh, out_wh = (sum(part[side] for part in store.due.values()) for side in (0, 1))
        name = SimulatedBattery.name if store.capacity_wh else "stopped"
        return StoreKept(name, store.capacity_wh, store.power_w, into_wh, out_wh, self._said.get(code, ""))

    async def _look_after(self, code: str) -> None:
        """Whatever is next for a storage; what fails is tried again."""
        storage = self._node.machine.state.storages.get(code)
        if storage is None or storage.meter not in self._meters:
            return
        store = self._stores[code]
        try:
            if store.sent:
                await self._settle(code, store)
            if store.plan is None:
                await self._plan(code, store)
            if store.plan is not None:
                await self._move(code, store)
            if store.mended is not None and not store.sent and not store.fixes:
                await self._mended(code, store, store.mended)
            if not store.sent and not store.fixes:
                await self._mend(code, store)
            if not store.sent:
                await self._report(code, store)
        except (ActuatorError, Refused) as error:
            if self._said.get(code) != str(error):
                log.warning("storage %s: %s", code, error)
            self._said[code] = f"{error}; trying again"

    async def _plan(self, code: str, store: _Store) -> None:
        """Once the next period is closed: what should be moved."""
        found = await self._ask(lambda: self._node.views.periods(store.period_s + 1, END_S, 1))
        if not found:
            return
        start_s, length_s = found[0].start_s, found[0].length_s
        store.corrections = found[0].corrections
        left = await self._ask(lambda: self._left(start_s))
        planned = keeping.plan(self._node.machine.state, code, left, _parts(store.due))
        most_wh = store.power_w * length_s // 3600
        store.plan, store.next_s = _told(_within(planned, most_wh)), start_s
        store.left, store.planned = {one.hex(): (given, taken) for one, given, taken in left}, _told(planned)
        await self._note()

    async def _move(self, code: str, store: _Store) -> None:
        """The battery does what was planned, once; what it did is due."""
        assert store.plan is not None
        planned = _parts(store.plan)
        into_wh, out_wh = (sum(part[side] for part in planned.values()) for side in (0, 1))
        did = (0, 0)
        if planned:
            efficiency_ppm = self._node.machine.state.storages[code].efficiency_ppm
            battery = self._open(code, store.capacity_wh, efficiency_ppm)
            did = await trio.to_thread.run_sync(battery.move, store.next_s, into_wh, out_wh)
            self._said[code] = f"{battery.name}; charged {did[0]} Wh, discharged {did[1]} Wh"
        parts = keeping.moved(planned, *did)
        if parts:
            kept = Moved(
                did=did, left=store.left, planned=store.planned, parts=_told(parts), corrections=store.corrections
            )
            await self._note_moved(code, store.next_s, kept)
        store.due = _told(keeping.add(_parts(store.due), parts))
        store.left, store.planned = {}, {}
        store.period_s, store.plan = store.next_s, None
        await self._note()

    async def _mend(self, code: str, store: _Store) -> None:
        """The oldest period whose readings were corrected since: whose energy was it then?"""
        book, state = await self._book(code), self._node.machine.state
        for start_s, moved in list(book.periods.items()):
            period = state.periods.get(start_s)
            if period is not None and period.corrections > moved.corrections:
                shown = await self._ask(partial(self._node.views.periods, start_s, start_s + 1, 1))
                if shown and shown[0].corrections == period.corrections:
                    await self._work_out(code, store, start_s, moved, period.corrections)
                # Else the views are a moment behind.
                return
            if period is None or period.status == PERIOD_FINAL:
                await self._ask(partial(book.drop, start_s))

    async def _work_out(self, code: str, store: _Store, start_s: int, moved: Moved, corrections: int) -> None:
        """Write down what changes: of what is not reported yet at once, of the rest what the ledger is told."""
        state = self._node.machine.state
        left = await self._ask(lambda: self._left(start_s))
        after = {account: (given_wh, taken_wh) for account, given_wh, taken_wh in left}
        planned = keeping.replan(state, code, _parts(moved.left), after, _parts(moved.planned))
        keeper = state.meters[state.storages[code].meter].account
        parts = keeping.divided(planned, moved.did, keeper)
        due, fixes = keeping.shifted(_parts(store.due), _parts(moved.parts), parts)
        store.due, store.fixes, store.fixed_s = _told(due), _told(fixes), start_s
        store.mended = Moved(
            did=moved.did, left=_told(after), planned=_told(planned), parts=_told(parts), corrections=corrections
        )
        await self._note()
        if not fixes:
            await self._mended(code, store, store.mended)

    async def _mended(self, code: str, store: _Store, mended: Moved) -> None:
        """The correction is on the ledger, or there was nothing to tell it."""
        await self._note_moved(code, store.fixed_s, mended)
        store.mended = None
        await self._note()

    async def _report(self, code: str, store: _Store) -> None:
        """Sign what the ledger would take of what is due, write that down, and hand it in."""
        state, clock = self._node.machine.state, self._node.clock
        storage = state.storages[code]
        first = storage.charged_wh < 0
        fixes = keeping.portion(_parts(store.fixes))
        parts = {} if first or fixes else keeping.reportable(state, code, _parts(store.due))
        if not parts and not fixes and not first:
            return
        into_wh, out_wh = (sum(part[side] for part in parts.values()) for side in (0, 1))
        valid_s = min(VALID_S * clock.speed, self._node.machine.genesis.limits.max_validity_s // 2)
        record = Stored(
            nonce=secrets.randbits(NONCE_BITS),
            valid_until_s=clock.now_s() + valid_s,
            asset=code,
            charged_wh=max(0, storage.charged_wh) + into_wh,
            discharged_wh=max(0, storage.discharged_wh) + out_wh,
            parts=tuple(sorted((account, *part) for account, part in parts.items())),
            of_s=store.fixed_s if fixes else None,
            less=_side(fixes, -1),
            more=_side(fixes, 1),
        )
        key = self._meters[storage.meter]
        signed = sign_record(record, self._node.chain_id, key.public, key.sign)
        store.sent, store.sent_id, store.parts = signed.envelope_bytes.hex(), signed.record_id.hex(), _told(parts)
        store.sent_until_s = record.valid_until_s
        await self._note()
        await self._settle(code, store)

    async def _settle(self, code: str, store: _Store) -> None:
        """What became of the report: its parts are no longer due if it was accepted; else others are reported."""
        record_id, until_s = bytes.fromhex(store.sent_id), store.sent_until_s
        known = await self._node.outcome(record_id, 0, until_s)
        if known.status == "unknown":
            try:
                await self._node.submit_envelope(bytes.fromhex(store.sent))
            except Refused as error:
                if not error.lasting:
                    raise
                self._said[code] = str(error)
            known = await self._node.outcome(record_id, WAIT_S, until_s)
        if known.status == "unknown":
            # Some block may still carry it: nothing else is reported before that is known.
            return
        if known.status == "final" and known.verdict == "ACCEPTED":
            store.due = _told(keeping.add(_parts(store.due), _parts(store.parts), -1))
        elif known.sentence:
            self._said[code] = f"the report was not taken: {known.sentence}"
        # What the ledger refuses to put right it refuses again; the rest goes on.
        store.fixes = _told(keeping.add(_parts(store.fixes), keeping.portion(_parts(store.fixes)), -1))
        store.sent, store.sent_id, store.parts, store.sent_until_s = "", "", {}, 0
        await self._note()

    def _left(self, start_s: int) -> list[tuple[bytes, int, int]]:
        """(account, Wh given to the grid, Wh taken from it) of everybody in a closed period."""
        found: list[tuple[bytes, int, int]] = []
        while True:
            lines = self._node.views.lines(None, start_s, start_s + 1, MAX_ROWS, len(found))
            found += [(bytes.fromhex(line.account), line.fed_in_wh, line.grid_wh) for line in lines]
            if len(lines) < MAX_ROWS:
                return found

    async def _book(self, code: str) -> MovedBook:
        if code not in self._books:
            self._books[code] = await trio.to_thread.run_sync(MovedBook, self._path.parent, code)
        return self._books[code]

    async def _note_moved(self, code: str, start_s: int, moved: Moved) -> None:
        book = await self._book(code)
        await trio.to_thread.run_sync(book.put, start_s, moved)

    async def _ask(self, question: Callable[[], Any]) -> Any:
        return await trio.to_thread.run_sync(question)

    async def _note(self) -> None:
        """All of it goes to the disk, whole or not at all. Raises ActuatorError: the disk refuses."""
        async with self._writing:
            told = {code: msgspec.to_builtins(store) for code, store in self._stores.items()}
            await trio.to_thread.run_sync(write_whole, self._path, told)


def simulated_batteries(directory: Path) -> Callable[[str, int, int], Battery]:
    """Opens the simulated battery of an asset; its registers lie in the microgrid's directory."""
    return lambda code, capacity_wh, efficiency_ppm: SimulatedBattery(
        directory / f"battery-{code.encode().hex()}.json", capacity_wh, efficiency_ppm
    )


def _within(planned: Parts, most_wh: int) -> Parts:
    """A plan that the battery's power allows over the period, either way."""
    into_wh, out_wh = (sum(part[side] for part in planned.values()) for side in (0, 1))
    return keeping.moved(planned, min(into_wh, most_wh), min(out_wh, most_wh))


def _side(fixes: Parts, sign: int) -> tuple[tuple[bytes, int, int], ...]:
    """What is more, or with sign -1 less, by account."""
    found = ((account, max(0, sign * part[0]), max(0, sign * part[1])) for account, part in sorted(fixes.items()))
    return tuple(part for part in found if any(part[1:]))


def _parts(told: Mapping[str, tuple[int, int]]) -> Parts:
    return {bytes.fromhex(account): (part[0], part[1]) for account, part in told.items()}


def _told(parts: Parts) -> dict[str, tuple[int, int]]:
    return {account.hex(): part for account, part in parts.items()}


def _read(path: Path) -> dict[str, _Store]:
    try:
        return msgspec.convert(json.loads(path.read_text()), dict[str, _Store])
    except FileNotFoundError:
        return {}
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: does not say what is kept ({error})\n    restore it from the backup") from error
