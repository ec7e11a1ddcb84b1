"""Duty: whether this node votes in a microgrid now, and if not, why not and what becomes of it.

A validator's disk may be of an earlier time, and then its device key must never sign
again. This is judged at every start (`meshnode.network.licence`), with the word of the others
(`meshnode.network.recall`); until it is, the validator keeps silent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from meshnode.config import Timing
from meshnode.keys import SigningKey
from meshnode.machine import Machine
from meshnode.network.learner import Learner
from meshnode.network.licence import FREE, Licence, Retired
from meshnode.network.recall import Recall
from meshnode.network.recollection import Recollection
from meshnode.network.transport import Transport
from meshnode.network.validator import Validator
from meshnode.store import SignState, Store
from protocols.cose import Verifier
from protocols.signatures import Signatures

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = logging.getLogger(__name__)


class Duty:
    """One node's duty in one microgrid.

    Attributes:
        retired: why this node's device key never signs again; empty while it may.
    """

    def __init__(
        self,
        store: Store,
        machine: Machine,
        device: SigningKey,
        transport: Transport,
        check: Verifier,
        timing: Timing,
        reopen: Callable[[str], None],
    ) -> None:
        """Args:
        store: just opened.
        reopen: has the whole node begin anew in this process; gets the reason.
        """
        self.retired = ""
        self._store = store
        self._machine = machine
        self._device = device
        self._transport = transport
        self._timing = timing
        self._reopen = reopen
        self._source: Validator | Learner | None = None
        self._recollection: Recollection | None = None
        if machine.quorum.key_of(device.key_id) is not None:
            self._recollection = Recollection(
                store.places(device.key_id),
                store.hard_state().term,
                device.public,
                lambda: machine.quorum,
                machine.chain_id,
                check,
                timing.election_ticks,
            )
            self._judge(self._recollection.decision)

    @property
    def votes(self) -> bool:
        """Whether this node is a validator; one that may have to keep silent."""
        return self._recollection is not None and not self.retired

    @property
    def licence(self) -> Licence:
        """What a validator may sign for now."""
        decision = FREE if self._recollection is None else self._recollection.decision
        return decision if isinstance(decision, Licence) else Licence(silent=decision.reason)

    @property
    def notice(self) -> str:
        """What a person should know of a node that does not do its duty; empty if there is nothing."""
        if self.retired:
            return (
                f"the device key {self._device.key_id.hex()} never signs again ({self.retired}); "
                "this node follows without voting and gets a new device key"
            )
        if isinstance(self._source, Validator) and self._source.licence.silent:
            return f"not voting yet: {self._source.licence.silent}"
        return ""

    def attach(self, source: Validator | Learner) -> None:
        """The part that knows what was signed, here and by others."""
        self._source = source

    async def run(self, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Ask and answer until cancelled."""
        recall = Recall(
            self._transport,
            self._machine.chain_id,
            self._answer,
            self._recollection if self.votes else None,
            self._judge,
            self._signed,
            self._timing.tick_s,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(recall.run)
            task_status.started()

    def _judge(self, decision: Licence | Retired) -> None:
        """Act on what the two places and the others say."""
        validator = self._source if isinstance(self._source, Validator) else None
        if isinstance(decision, Licence):
            if validator is not None:
                log.info("%s", decision.silent or "this node signs")
                validator.permit(decision)
            return
        if validator is not None:
            validator.permit(Licence(silent=decision.reason))
        self.retired = decision.reason
        # On disk before anything else: whatever a later start finds, this key is not used again.
        self._store.retire(decision.reason)
        log.error("%s", self.notice)
        if validator is not None:
            self._reopen(self.notice)

    def _answer(self, key_id: bytes) -> Signatures:
        source = self._source
        assert source is not None
        return source.heard.of(key_id, source.term, source.tip())

    def _signed(self) -> tuple[SignState, int] | None:
        source = self._source
        if isinstance(source, Validator) and not source.licence.silent:
            return source.signed()
        return None
