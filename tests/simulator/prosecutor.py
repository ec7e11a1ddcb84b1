"""Prosecutor: hears everything that is ever signed, and names whom it convicts.

It knows more than any node could: what was signed and never sent as well. Even so it
must never name an honest node, and of every fork it must name a liar.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from protocols.cose import Envelope
from protocols.histories import History, extract
from protocols.records import Ack, Header, Vote
from protocols.roll import Roll

if TYPE_CHECKING:
    from tests.simulator.world import World

# Statements of some minutes of a busy microgrid; older ones have had their trial.
KEPT = 6_000
HEARD = (Header.KIND, Ack.KIND, Vote.KIND)


class Prosecutor:
    """See the module text. In runs without liars and learners it hears nobody: little could come of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._is_needed = bool(world.plan.liars or world.plan.learners)
        self._heard: deque[Envelope] = deque(maxlen=KEPT)

    def hear(self, kind: int, envelope: Envelope) -> None:
        """A statement was signed."""
        if self._is_needed and kind in HEARD:
            self._heard.append(envelope)

    def judge(self) -> set[str]:
        """Hold what was heard and what lies on all honest disks against everybody.

        Returns:
            The homes that are convicted, or asked for what they cannot answer.
        """
        world = self._world
        if not self._is_needed:
            return set()
        histories = [node.disk.history(node.key.key_id) for node in world.nodes if world.honest(node)]
        histories.append(History(statements=tuple(dict.fromkeys(envelope.encode() for envelope in self._heard))))
        roll = Roll(world.village.genesis, world.village.chain_id, world.succession.configs)
        extraction = extract(histories, roll, world.keyring.verifier)
        # Every honest disk was searched for answers: what is still open, only a liar leaves so.
        named = (*extraction.evidence, *extraction.open)
        accused = {world.home_of_key(evidence.accused) for evidence in named}
        world.witness.checked["evidence never names the honest"] += 1
        world.counts["convicted"] += len({evidence.accused for evidence in extraction.evidence})
        world.counts["asked without an answer"] += len({evidence.accused for evidence in extraction.open})
        for evidence in named:
            home = world.home_of_key(evidence.accused)
            if world.honest_home(home):
                text = f"{home} is convicted by evidence of kind {evidence.evidence_kind}"
                world.witness.broken("evidence never names the honest", text)
        return accused
