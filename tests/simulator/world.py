"""World: one microgrid of a plan, from its founding to its end."""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from random import Random
from traceback import extract_tb

import msgspec

from meshnode.ledger.state import State
from meshnode.machine import Machine
from meshnode.market.registry import installed_mechanisms
from protocols import block as blocks
from protocols.raft import Role
from protocols.records import ValidatorEntry
from tests.protocols.village import HOMES, START_S, Village
from tests.simulator import succession
from tests.simulator.disk import Disk
from tests.simulator.faults import FAULTS, Undo
from tests.simulator.images import Images
from tests.simulator.keys import Keyring
from tests.simulator.liars import SCHEME_MS, TWIN, Liar
from tests.simulator.members import Members
from tests.simulator.network import Network, Weather
from tests.simulator.node import Node
from tests.simulator.plan import MINUTE_MS, MODES, ROUND_MS, TROUBLE_MS, Episode, Plan, tolerated
from tests.simulator.post import Post
from tests.simulator.prosecutor import Prosecutor
from tests.simulator.snapshots import Snapshots
from tests.simulator.succession import Succession
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
# Long enough for a twin to be elected by those on its side.
TURNS_PER_SIDE = 8
# The last things that happened, shown when something fails.
NOTES_KEPT = 60
FRAMES_SHOWN = 4
# A longer ledger is taken up from a snapshot at every restart, for speed; a shorter one in half of them.
ALWAYS_REPLAYED = 200


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


class World(Post):
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
            plan.homes + plan.learners,
            keys=self.keyring.pair,
            administrators=HOMES[:1],
            quorum_mode=MODES[plan.mode],
            binding=encode(read(text)),
            binding_text=text.encode(),
            validators=tuple(
                ValidatorEntry(device_key=self.keyring.pair(f"{home} device").public) for home in HOMES[: plan.homes]
            ),
        )
        self.succession = Succession(self.village.genesis, self.village.chain_id, self.keyring)
        self.calm = Weather()
        self.network = Network(self.timeline, Random(f"{plan.seed} network"))
        super().__init__()
        self._mechanisms = installed_mechanisms()
        self.counts: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.liars: set[str] = set()
        self._chance = Random(f"{plan.seed} world")
        self._notes: deque[tuple[int, str, str, str]] = deque(maxlen=NOTES_KEPT)
        self._held_off: Counter[str] = Counter()
        self._undo: dict[int, Undo] = {}
        # The honest could only settle when the time of a wrong clock had come: the plan is over by then.
        self._late = False
        # Since when nothing is wrong any more; None while something may be.
        self.healed_ms: int | None = None
        self.witness = Witness(self)
        self.prosecutor = Prosecutor(self)
        self.images = Images(self)
        self.snapshots = Snapshots()
        founding = self._machine()
        self.accounts = {
            home: founding.state.keys[self.keyring.pair(home).key_id].account for home in self.village.homes
        }
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
        return bool(self.liars) and self.succession.was_majority

    @property
    def most_liars(self) -> int:
        """How many homes there may be, at any time, that lie, have lost what they promised or get an old card."""
        return tolerated(self.plan.homes, self.plan.mode)

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
            homes=len(self.village.homes),
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
            self.healed_ms = self.timeline.now_ms
            self._settle()
            self.healed_ms = None
            if self.witness.stopped:
                self._watch_fork()
                return
            if self._late:
                return
            self.timeline.run(min(start + ROUND_MS, self.plan.duration_ms))

    def _watch_fork(self) -> None:
        """Liars have made two histories. Whoever sees both stops, for ever; the run ends soon after."""
        for number in sorted(self._undo):
            self._undo.pop(number)()
        self.timeline.run(self.timeline.now_ms + MINUTE_MS)
        halted = [node.name for node in self._judged() if node.halted]
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
        if self._late:
            return
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
        height, config = self.witness.effective.get(record_id), self.succession.in_force
        if height is None:
            return False
        keys = [node.key.public for node in self._judged() if node.machine.height >= height]
        return sum(config.has(key) for key in keys) >= succession.needed(config) - succession.tolerated(config)

    def _settle(self) -> None:
        """Within `SETTLE_MS` somebody leads, a new record is final, and everybody has everything."""
        end = self.timeline.now_ms + SETTLE_MS
        record_id = self.members.speak_plainly()
        while not self._settled(record_id):
            if self.timeline.now_ms >= end:
                self.witness.stopped |= self.witness.deceived(self._judged())
                if self.witness.stopped:
                    return
                ahead_ms = self._ahead_ms()
                if self._late or not ahead_ms:
                    self.witness.broken("settles after trouble", self._standing())
                self.counts["waited for a clock that was ahead"] += 1
                self._late, end = True, end + ahead_ms + SETTLE_MS
            self.timeline.run(self.timeline.now_ms + LOOK_MS)
        self.witness.checked["settles after trouble"] += 1
        for node in self._judged():
            self.witness.conserved(node)
            self.witness.provable(node)
        self.prosecutor.judge()

    def _ahead_ms(self) -> int:
        """How long the newest block is still ahead of all clocks, if there are nodes that wait for it.

        A leader with a wrong clock made it, then the power failed everywhere. Who may have
        forgotten that it signed that block elects nobody without it, and takes it when its time has come.
        """
        voting = [node for node in self._judged() if node.validator is not None]
        if not any(node.validator.licence.tip > node.validator.tip() for node in voting if node.validator is not None):
            return 0
        chain_id, drift_s = self.village.chain_id, self.village.genesis.max_drift_s
        newest = max(
            blocks.read(node.disk.entry(node.disk.last_index()).data, chain_id).header.time_s
            for node in voting
            if node.disk.last_index()
        )
        return max(0, newest - drift_s - min(node.now_s() for node in voting)) * 1000

    def _judged(self) -> list[Node]:
        return [node for node in self.nodes if node.up and self.honest(node)]

    def _settled(self, record_id: bytes) -> bool:
        nodes = self._judged()
        if self.witness.effective.get(record_id) is None or self.succession.decided != self.succession.in_force:
            return False
        heights = {node.machine.height for node in nodes} | {node.last_height for node in nodes}
        return (
            heights == {self.witness.certified_height}
            and all(self.succession.in_force.has(node.key.public) == (node.validator is not None) for node in nodes)
            and any(node.validator.role is Role.LEADER for node in self.nodes if node.validator is not None)
            and len({node.machine.state_hash() for node in nodes}) == 1
        )

    def _standing(self) -> str:
        lines = "; ".join(node.standing() for node in self.nodes)
        return f"not settled after {SETTLE_MS // 1000} s; certified {self.witness.certified_height}; {lines}"

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
                if node.home == sender and self.is_numbered(receiver):
                    node.unreachable(self.number_of(receiver))

    def unreliable(self, chance: Random) -> Node | None:
        """A node that may lose what it promised; None if the others would not make a quorum without it."""
        if len(self.liars | self.images.homes) < self.most_liars:
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
