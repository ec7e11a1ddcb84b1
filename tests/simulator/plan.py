"""Plan: what one seed draws - how many homes, which faults when, who lies, how much is said.

Swarm testing: each seed has some of the faults, never all, because one that is always
there hides what another would show (Groce et al., "Swarm testing", ISSTA 2012). A plan is
data: what it holds can be taken out again, piece by piece, while a failure is cut down.
"""

from __future__ import annotations

from random import Random

import msgspec

from meshnode.network.work import Settings
from protocols.records import QUORUM_BYZANTINE, QUORUM_MAJORITY

MODES = {"majority": QUORUM_MAJORITY, "byzantine": QUORUM_BYZANTINE}
MINUTE_MS = 60_000
# Trouble for seven minutes, then the wires are mended, and all must be well again before the next round.
ROUND_MS = 10 * MINUTE_MS
TROUBLE_MS = 7 * MINUTE_MS
# Real Ed25519 so often; it is sixty times slower than a keyed hash.
REAL_KEYS_EVERY = 50

MAX_APPEND_BYTES = Settings().max_append_bytes

OLD_IMAGE = "old image"
# What may go wrong without anybody lying, with the most that one round sees of it.
FAULTS: dict[str, int] = {
    "crash": 6,
    "crash while writing": 6,
    "outage": 1,
    "partition": 3,
    "one-way": 4,
    "isolation": 3,
    "loss": 3,
    "copies": 3,
    "reordering": 3,
    "delay": 2,
    "slow disk": 3,
    "disk error": 3,
    "full disk": 2,
    "bit rot": 1,
    "clock": 4,
    "far clock": 1,
    "election": 5,
    "burst": 3,
    OLD_IMAGE: 2,
}
# Decisions of the administrator on who validates, in one round of a seed that has them.
CHANGE = "change of validators"
CHANGES_A_ROUND = 8
# How long a fault lasts at most, in milliseconds; one is drawn for each episode.
LENGTHS_MS = (500, 5_000, 30_000, 120_000)
LONG = {"far clock": (120_000,), OLD_IMAGE: (240_000,)}
LIES = (
    *("twins", "withheld", "replayed", "forged tip", "double vote", "double ack", "two blocks", "garbage"),
    *("usurped term", "false certificates", "bad signatures", "bad blocks", "repeated records", "giant terms"),
)
# Lies that matter where blocks are locked on, and where no liar may stop the others.
LIES_ABOUT_LOCKS = ("false locks", "hidden certificates", "idle leader", "endless campaigns")


class Episode(msgspec.Struct, frozen=True):
    """One fault, from its beginning to its end."""

    number: int
    kind: str
    start_ms: int
    end_ms: int


class Plan(msgspec.Struct, frozen=True):
    """All that a run depends on.

    Attributes:
        homes: how many validators.
        faults: kinds drawn for this seed; episodes: when each of them happens.
        liars: which homes lie, by their place in the village, and lies: what they do.
        learners: homes beside them whose nodes follow, until they are made validators.
        records_per_hour: what members say, meters aside.
        append_bytes: how much one append carries; with little, every block travels and is acknowledged alone.
    """

    seed: int
    mode: str
    homes: int
    duration_ms: int
    real_keys: bool
    faults: tuple[str, ...]
    episodes: tuple[Episode, ...]
    liars: tuple[int, ...]
    lies: tuple[str, ...]
    records_per_hour: int
    append_bytes: int
    learners: int = 0

    def only(self, numbers: tuple[int, ...]) -> Plan:
        """The plan with these episodes alone."""
        kept = tuple(episode for episode in self.episodes if episode.number in numbers)
        return msgspec.structs.replace(self, episodes=kept)


def tolerated(homes: int, mode: str) -> int:
    """How many nodes may lie or lose what they promised while the others still make a quorum."""
    return (homes - 1) // 3 if mode == "byzantine" else (homes - 1) // 2


def draw(seed: int, mode: str, duration_ms: int) -> Plan:
    """The plan of a seed."""
    chance = Random(f"plan {mode} {seed}")
    homes = chance.choice((4, 4, 7) if mode == "byzantine" else (3, 3, 3, 5, 5, 4, 7))
    faults = tuple(kind for kind in FAULTS if chance.randrange(3) == 0)
    if OLD_IMAGE in faults:
        # Where a node is lost for good, nobody's clock goes far wrong: all others may have to wait for its block.
        faults = tuple(kind for kind in faults if kind != "far clock")
    episodes: list[Episode] = []
    for round_start in range(0, duration_ms, ROUND_MS):
        trouble = min(TROUBLE_MS, duration_ms - round_start)
        for kind in faults:
            for _ in range(chance.randrange(FAULTS[kind] + 1)):
                start = round_start + chance.randrange(trouble)
                length = chance.choice(LONG.get(kind, LENGTHS_MS))
                end = min(start + chance.randrange(1, length), round_start + trouble)
                episodes.append(Episode(len(episodes), kind, start, end))
    liars: tuple[int, ...] = ()
    lies = LIES if mode == "majority" else (*LIES, *LIES_ABOUT_LOCKS)
    if chance.randrange(3) == 0 or (mode == "byzantine" and chance.randrange(2)):
        liars = tuple(sorted(chance.sample(range(homes), chance.randrange(tolerated(homes, mode)) + 1)))
    # Who gets an old image is one of those that the others get on without.
    liars = liars[: tolerated(homes, mode) - (OLD_IMAGE in faults)]
    learners, changes = _draw_changes(seed, mode, duration_ms, len(episodes))
    return Plan(
        seed=seed,
        mode=mode,
        homes=homes,
        duration_ms=duration_ms,
        real_keys=seed % REAL_KEYS_EVERY == REAL_KEYS_EVERY - 1,
        faults=(*faults, CHANGE) if changes else faults,
        episodes=(*episodes, *changes),
        liars=liars,
        lies=tuple(sorted(chance.sample(lies, chance.randrange(1, 4)))) if liars else (),
        records_per_hour=chance.choice((60, 240, 1200)),
        append_bytes=chance.choice((MAX_APPEND_BYTES, 2_000, 1)),
        learners=learners,
    )


def _draw_changes(seed: int, mode: str, duration_ms: int, first: int) -> tuple[int, list[Episode]]:
    """How many homes follow, and when the administrator decides on validators. With a chance of its own: seeds
    without changes are what they would be if there were none."""
    chance = Random(f"changes {mode} {seed}")
    if chance.randrange(3):
        return 0, []
    learners = chance.randrange(1, 3)
    episodes: list[Episode] = []
    for round_start in range(0, duration_ms, ROUND_MS):
        trouble = min(TROUBLE_MS, duration_ms - round_start)
        for _ in range(chance.randrange(2, CHANGES_A_ROUND + 1)):
            start = round_start + chance.randrange(trouble)
            episodes.append(Episode(first + len(episodes), CHANGE, start, start + 1))
    return learners, episodes
