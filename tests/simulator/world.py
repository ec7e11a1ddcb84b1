"""World: one microgrid of a plan, from its founding to its end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from random import Random
from traceback import extract_tb

import msgspec

from meshnode.ledger.state import State
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from protocols import block as blocks
from protocols.certificate import quorum_size
from protocols.frames import MAX_FRAME_BYTES
from protocols.parcel import Parcel
from protocols.raft import Role
from protocols.records import QUORUM_BYZANTINE, RecordError, read_as, to_payload
from tests.protocols.keys import KeyPair
from tests.protocols.village import HOMES, START_S, Village
from tests.simulator.disk import Disk
from tests.simulator.faults import FAULTS, Undo
from tests.simulator.images import Images
from tests.simulator.keys import Keyring
from tests.simulator.liars import SCHEME_MS, TWIN, Liar
from tests.simulator.members import Members
from tests.simulator.network import Network, Weather
from tests.simulator.node import Node
from tests.simulator.plan import MINUTE_MS, MODES, ROUND_MS, TROUBLE_MS, Episode, Plan, tolerated
from tests.simulator.prosecutor import Prosecutor
from tests.simulator.snapshots import Snapshots
from tests.simulator.timeline import Timeline
from tests.simulator.witness import Violation, Witness
from zencode.binding import encode
from zencode.presets import preset
from zencode.reader import read

# After the wires are mended: two elections of up to ten seconds that come to nothing, one that
# succeeds, a client that asks again, and blocks of a second each; twice that is room, not hope.
SETTLE_MS = 120_000
LOOK_MS = 500
# While some lie: a lying leader is given up after a minute or two, and may be elected again; whoever dropped a
# liar hears of nothing through it for half a minute.
PREVAIL_MS = 600_000
# A node that dropped another does not speak with it for a while (600 s in the product; the
# shorter time gives a liar more occasions).
DROPPED_MS = 30_000
# Long enough for a twin to be elected by those on its side.
TURNS_PER_SIDE = 8
# The last things that happened, shown when something fails.
NOTES_KEPT = 60
FRAMES_SHOWN = 4
# A longer ledger is taken up from a snapshot at every restart, for speed; a shorter one in half of them.
ALWAYS_REPLAYED = 200
# What parcels say is encoded and read once, however many nodes say it or hear it.
REMEMBERED_PARCELS = 1024


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run.

    Attributes:
        violation: what does not hold, None if all does; invariant: its name.
        events: of the timeline; sent: parcels.
    """

    seed: int
    mode: str
    homes: int
    simulated_ms: int
    violation: str | None
    invariant: str | None
    events: int
    faults: dict[str, int]
    checked: dict[str, int]
    counts: dict[str, int]
    notes: tuple[str, ...]


class World:
    """See the module text.

    Attributes:
        nodes: every device, those of liars included.
        liars: homes whose nodes are not honest any more: they lie, or have lost what they promised.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.timeline = Timeline()
        self.keyring = Keyring(real=plan.real_keys)
        text = preset("neighbour_market")
        self.village = Village(
            plan.homes,
            keys=self.keyring.pair,
            administrators=HOMES[:1],
            quorum_mode=MODES[plan.mode],
            binding=encode(read(text)),
            binding_text=text.encode(),
        )
        self.calm = Weather()
        self.network = Network(self.timeline, Random(f"{plan.seed} network"))
        self._mechanisms = installed_mechanisms()
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.liars: set[str] = set()
        self._chance = Random(f"{plan.seed} world")
        self._notes: deque[tuple[int, str, str, str]] = deque(maxlen=NOTES_KEPT)
        self._held_off: Counter[str] = Counter()
        self._undo: dict[int, Undo] = {}
        self._parcels: dict[bytes, Parcel | str] = {}
        self._encoded: dict[Parcel, bytes] = {}
        self.witness = Witness(self)
        self.prosecutor = Prosecutor(self)
        self.images = Images(self)
        self.snapshots = Snapshots()
        founding = self._machine()
        self.accounts = {
            home: founding.state.keys[self.keyring.pair(home).key_id].account for home in self.village.homes
        }
        keys = [key for key, _ in self.village.quorum.voters]
        self._home_of = {
            keys.index(self.keyring.pair(f"{home} device").public) + 1: home for home in self.village.homes
        }
        self._number_of = {home: number for number, home in self._home_of.items()}
        self.nodes = [Node(self, home, home, self.keyring.pair(f"{home} device")) for home in self.village.homes]
        self._sides: dict[tuple[str, str], Node] = {}
        self._lying = False
        for place in plan.liars:
            self._make_liar(self.nodes[place])
        self._by_name = {node.name: node for node in self.nodes}
        self.members = Members(self)

    @property
    def now_s(self) -> int:
        """True UTC seconds."""
        return START_S + self.timeline.now_ms // 1000

    @property
    def may_fork(self) -> bool:
        """Whether a lie could explain two histories."""
        return bool(self.liars) and self.plan.mode == "majority"

    # --- running

    def run(self) -> Outcome:
        """Live through the whole plan, or up to the first violation."""
        violation: str | None = None
        invariant: str | None = None
        try:
            self._live()
        except Violation as found:
            violation, invariant = str(found), found.invariant
        except Exception as error:
            # A node's own error would end its process, again and again; here it ends the run.
            invariant = "no errors of our own"
            frames = extract_tb(error.__traceback__)[-FRAMES_SHOWN:]
            place = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
            violation = f"{invariant}: {type(error).__name__}: {error} ({place})"
        return Outcome(
            seed=self.plan.seed,
            mode=self.plan.mode,
            homes=self.plan.homes,
            simulated_ms=self.timeline.now_ms,
            violation=violation,
            invariant=invariant,
            events=self.timeline.events,
            faults=dict(self.faults),
            checked=dict(self.witness.checked),
            counts=dict(self.counts + self.members.counts),
            notes=tuple(f"{at / 1000:10.3f} s  {what}: {who} {how}" for at, what, who, how in self._notes),
        )

    def _live(self) -> None:
        for node in self.nodes:
            node.start()
        self.members.begin()
        for episode in self.plan.episodes:
            self.timeline.at(episode.start_ms, self._begin, episode)
        for start in range(0, self.plan.duration_ms, ROUND_MS):
            self._let_liars_in()
            end = min(start + TROUBLE_MS, self.plan.duration_ms)
            while self.timeline.now_ms < end:
                if self.witness.forks or self.witness.stopped:
                    self._watch_fork()
                    return
                self.timeline.run(min(self.timeline.now_ms + MINUTE_MS, end))
            if self.plan.mode == "byzantine" and self.liars:
                self._prevail()
            self._heal()
            self._settle()
            if self.witness.stopped:
                self._watch_fork()
                return
            self.timeline.run(min(start + ROUND_MS, self.plan.duration_ms))

    def _watch_fork(self) -> None:
        """Liars have made two histories. Whoever sees both stops, for ever; the run ends soon after."""
        for number in sorted(self._undo):
            self._undo.pop(number)()
        self.timeline.run(self.timeline.now_ms + MINUTE_MS)
        halted = [node.name for node in self._judged() if node.validator is not None and node.validator.halted]
        kind = "forked runs" if self.witness.forks else "runs stopped by a lie"
        self.counts[kind] += 1
        self.counts[f"{kind}, noticed by a node"] += bool(halted)
        named = self.prosecutor.judge()
        if self.witness.forks:
            self.witness.checked["a fork names a culprit"] += 1
            if not named:
                self.witness.broken(
                    "a fork names a culprit", f"two histories at {self.witness.forks[0]}, and no evidence"
                )

    def _begin(self, episode: Episode) -> None:
        chance = Random(f"{self.plan.seed} episode {episode.number}")
        self.faults[episode.kind] += 1
        self.note("begins", episode.kind, f"(episode {episode.number})")
        self._undo[episode.number] = FAULTS[episode.kind](self, chance)
        self.timeline.at(episode.end_ms, self._end, episode)

    def _end(self, episode: Episode) -> None:
        undo = self._undo.pop(episode.number, None)
        if undo is not None:
            self.note("ends", episode.kind, f"(episode {episode.number})")
            undo()

    def _heal(self) -> None:
        """Nothing is wrong any more."""
        for number in sorted(self._undo):
            self._undo.pop(number)()
        self._shut_liars_out()
        for node in self.nodes:
            node.restart()
        self.note("healed", "everything", "")

    def _prevail(self) -> None:
        """Nothing is wrong but that some lie: within `PREVAIL_MS` a new record is final, and as many honest nodes
        know as every quorum has. Liars may keep the others behind; those would fetch what they lack, which no
        node does here."""
        for number in sorted(self._undo):
            self._undo.pop(number)()
        for node in self.nodes:
            node.restart()
        end = self.timeline.now_ms + PREVAIL_MS
        record_id = self.members.speak_plainly()
        while not self._known_to_enough(record_id):
            if self.timeline.now_ms >= end:
                self.witness.broken("liars stop nothing", self._standing())
            self.timeline.run(self.timeline.now_ms + LOOK_MS)
        self.witness.checked["liars stop nothing"] += 1

    def _known_to_enough(self, record_id: bytes) -> bool:
        height, homes = self.witness.effective.get(record_id), self.plan.homes
        if height is None:
            return False
        know = [node for node in self._judged() if node.machine.height >= height]
        return len(know) >= quorum_size(homes, QUORUM_BYZANTINE) - tolerated(homes, self.plan.mode)

    def _settle(self) -> None:
        """Within `SETTLE_MS` somebody leads, a new record is final, and everybody has everything."""
        end = self.timeline.now_ms + SETTLE_MS
        record_id = self.members.speak_plainly()
        while not self._settled(record_id):
            if self.timeline.now_ms >= end:
                self.witness.stopped |= self.witness.deceived(self._judged())
                if self.witness.stopped:
                    return
                self.witness.broken("settles after trouble", self._standing())
            self.timeline.run(self.timeline.now_ms + LOOK_MS)
        self.witness.checked["settles after trouble"] += 1
        for node in self._judged():
            self.witness.conserved(node)
            self.witness.provable(node)
        self.prosecutor.judge()

    def _judged(self) -> list[Node]:
        return [node for node in self.nodes if node.up and self.honest(node)]

    def _settled(self, record_id: bytes) -> bool:
        nodes = self._judged()
        if self.witness.effective.get(record_id) is None:
            return False
        validators = [node.validator for node in nodes if node.validator is not None]
        heights = {v.final_height for v in validators} | {v.last_height for v in validators}
        return (
            heights == {self.witness.certified_height}
            and any(node.validator.role is Role.LEADER for node in self.nodes if node.validator is not None)
            and len({v.machine.state_hash() for v in validators}) == 1
        )

    def _standing(self) -> str:
        lines = [
            f"{node.name}: off, {node.lost or 'not started'}"
            if node.validator is None
            else f"{node.name}: {node.validator.role.name} of term {node.validator.term}, final "
            f"{node.validator.final_height}, log to {node.validator.last_height}, halted {node.validator.halted}, "
            f"{dict(node.validator.counters)}"
            for node in self.nodes
        ]
        return f"not settled after {SETTLE_MS // 1000} s; certified {self.witness.certified_height}; " + "; ".join(
            lines
        )

    def note(self, what: str, who: str, how: str) -> None:
        """Something for the trace."""
        self._notes.append((self.timeline.now_ms, what, who, how))

    # --- what faults need

    def hold_off(self, node: Node) -> None:
        """The node must not be started before `let_on` was called as often."""
        self._held_off[node.name] += 1

    def let_on(self, node: Node) -> None:
        """One reason less to be off; starts the node if that was the last."""
        self._held_off[node.name] -= 1
        node.restart()

    def kept_off(self, node: Node) -> bool:
        """Whether this node must stay off: by a fault, or as a liar while the honest settle."""
        return self._held_off[node.name] > 0 or (node.liar is not None and not self._lying)

    def broken(self, wires: list[tuple[str, str]]) -> None:
        """Streams over these wires break: both ends hear of it."""
        for sender, receiver in wires:
            for node in self.nodes:
                if node.home == sender:
                    node.unreachable(self._number_of[receiver])

    def unreliable(self, chance: Random) -> Node | None:
        """A node that may lose what it promised; None if the others would not make a quorum without it."""
        if len(self.liars | self.images.homes) < tolerated(self.plan.homes, self.plan.mode):
            self.liars.add(chance.choice(self.village.homes))
        return self._by_name[chance.choice(sorted(self.liars))] if self.liars else None

    # --- liars

    def _make_liar(self, node: Node) -> None:
        """The node lies from the beginning; perhaps there are two of it."""
        lies = self.plan.lies
        self.liars.add(node.home)
        node.liar = Liar(self, node, lies)
        if "twins" in lies:
            twin = Node(self, node.home + TWIN, node.home, node.key)
            twin.liar = Liar(self, twin, lies)
            self.nodes.append(twin)

    def _let_liars_in(self) -> None:
        """Liars are on and lie."""
        self._lying = True
        for node in [node for node in self.nodes if node.liar is not None]:
            node.restart()
        if self.liars:
            self._take_sides(1)
            self.timeline.after(SCHEME_MS, self._scheme)

    def _shut_liars_out(self) -> None:
        """Liars are off: the honest must get on without them."""
        self._lying = False
        self._sides.clear()
        for node in self.nodes:
            if node.liar is not None:
                node.power_off()

    def _scheme(self) -> None:
        if not self._lying:
            return
        self.timeline.after(SCHEME_MS, self._scheme)
        for node in self.nodes:
            if node.liar is not None and node.up:
                self.post_lies(node, node.liar.scheme())
        self._take_sides(TURNS_PER_SIDE)

    def _take_sides(self, turns: int) -> None:
        """Each neighbour takes one of two twins for the only one, for so many turns on average."""
        chance = self._chance
        for node in self.nodes:
            if node.name.endswith(TWIN) and chance.randrange(turns) == 0:
                self.counts["lie: twins"] += 1
                for home in self.village.homes:
                    self._sides[home, node.home] = chance.choice((node, self._by_name[node.home]))

    # --- who is who

    def honest(self, node: Node) -> bool:
        """Whether the node keeps its promises."""
        return node.home not in self.liars

    def honest_home(self, home: str) -> bool:
        """The same by the name of its home."""
        return home not in self.liars

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all validators."""
        return tuple(self._home_of)

    def number_of(self, home: str) -> int:
        """The number of a home's validator."""
        return self._number_of[home]

    def home_of_key(self, key_id: bytes) -> str:
        """The home of a device key."""
        return next(home for home in self.village.homes if self.keyring.pair(f"{home} device").key_id == key_id)

    def device_of(self, number: int) -> KeyPair:
        """The public half of a validator's key is for everybody."""
        return self.keyring.pair(f"{self._home_of[number]} device")

    def home_of(self, number: int) -> str:
        """The home of the validator with this number."""
        return self._home_of[number]

    def fork_seen(self) -> None:
        """Two histories are certified."""
        self.counts["forks"] += 1

    # --- parcels

    def post(self, node: Node, to: int, parcel: Parcel | bytes) -> None:
        """A node sends a parcel, or a liar any bytes, to the validator with this number."""
        home = self._home_of[to]
        receiver = self._sides.get((node.home, home)) or self._by_name[home]
        if node.liar is not None and self._sides.get((home, node.home), node) is not node:
            return  # they take the other one for the only one
        data = parcel if isinstance(parcel, bytes) else self._encode(parcel)
        number = self._number_of[node.home]
        self.network.send(node.home, home, receiver.receive, node.home, number, data)

    def _encode(self, parcel: Parcel) -> bytes:
        """The bytes of a parcel. Heartbeats are the same again and again, to everybody."""
        known = self._encoded.get(parcel)
        if known is None:
            known = self._encoded[parcel] = to_payload(parcel)
            if not self.plan.real_keys:
                # What is encoded here is not decoded again, but in the runs that do everything as it is.
                self._parcels[known] = parcel
            if len(self._encoded) > REMEMBERED_PARCELS:
                del self._encoded[next(iter(self._encoded))]
        return known

    def post_lies(self, node: Node, lies: Iterable[tuple[int, Parcel | bytes]]) -> None:
        """A liar sends what it likes."""
        for to, parcel in lies:
            if self._lying or isinstance(parcel, Parcel):
                self.post(node, to, parcel)

    def read_parcel(self, data: bytes) -> Parcel | str:
        """The parcel of a frame, or what is wrong with it."""
        known = self._parcels.get(data)
        if known is None:
            if len(data) > MAX_FRAME_BYTES:
                return f"frame of {len(data)} bytes announced, the limit is {MAX_FRAME_BYTES}"
            try:
                known = read_as(Parcel, data)
            except RecordError as error:
                known = str(error)
            self._parcels[data] = known
        while len(self._parcels) > REMEMBERED_PARCELS:
            del self._parcels[next(iter(self._parcels))]
        return known

    def drop(self, receiver: Node, sender: str, reason: str) -> None:
        """A node drops another: no parcel passes between them for a while."""
        self.note("drops", receiver.name, f"{sender}: {reason}")
        self.counts["dropped"] += 1
        self.witness.dropped(receiver, sender, reason)
        for wire in ((receiver.home, sender), (sender, receiver.home)):
            self.network.cut(*wire)
            self.timeline.after(DROPPED_MS, self.network.mend, *wire)

    # --- the ledger

    def _machine(self, state: State | None = None) -> Machine:
        genesis, verifier = self.village.genesis, self.keyring.verifier
        return Machine(genesis, self.village.chain_id, self._mechanisms, verifier, state)

    def replay(self, disk: Disk) -> Machine:
        """The ledger of a disk, executed up to its final height, now and then from a snapshot."""
        machine = self._machine()
        if disk.final_height() > ALWAYS_REPLAYED or self._chance.randrange(2):
            found = self.snapshots.newest(disk)
            if found is not None:
                machine = self._machine(found.restore())
                self.witness.restored(machine, found.state_hash)
                machine._hashes = dict(found.hashes)
        for height in range(machine.height + 1, disk.final_height() + 1):
            machine.apply(blocks.read(disk.entry(height).data, self.village.chain_id))
        return machine
