"""Node: an ordinary node that pulls its own plug at a named point; `python -m tests.crash.node DIR`.

The product knows nothing of it: the points are wrapped around its functions from
outside. A file `crash-at` in the node's directory names the point. When this node
leads and a block that carries a client's record comes to that point, the process
kills itself with SIGKILL, which no code of it can see coming.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from meshnode.cli.main import main
from meshnode.machine import Machine
from meshnode.network.certificates import CertificateBook
from meshnode.network.validator import Validator
from meshnode.store import Batch, Store
from protocols import block as blocks
from protocols.block import Block
from protocols.raft import Role
from protocols.records import Order, Reading

TRIGGER_FILE = "crash-at"
BEFORE_PERSIST = "before_persist"
AFTER_PERSIST = "after_persist"
AFTER_SIGNING = "after_signing"
AFTER_CERTIFICATE = "after_certificate"
DURING_APPLY = "during_apply"
POINTS = (BEFORE_PERSIST, AFTER_PERSIST, AFTER_SIGNING, AFTER_CERTIFICATE, DURING_APPLY)


class Plug:
    """What pulls the plug of this process.

    Heights are remembered only of blocks that this process made as leader of the present
    term: at any other height nothing happens, whatever the trigger says.
    """

    def __init__(self, directory: Path) -> None:
        self._trigger = directory / TRIGGER_FILE
        self._validator: Validator | None = None
        self._heights: set[int] = set()

    def wrap(self) -> None:
        """Put the points around the product's functions."""
        _around(Validator, "__init__", self._made)
        _around(Store, "persist", self._persist)
        _around(Validator, "persisted", self._persisted)
        _around(CertificateBook, "add", self._certificate)
        _around(Machine, "apply", self._apply)

    def _made(self, call: Callable[..., None], validator: Validator, *arguments: Any, **named: Any) -> None:
        call(validator, *arguments, **named)
        self._validator = validator

    def _persist(self, call: Callable[..., None], store: Store, batch: Batch) -> None:
        own = self._note(batch, store.chain_id)
        if own:
            self._pull(BEFORE_PERSIST)
        call(store, batch)
        if own:
            self._pull(AFTER_PERSIST)

    def _persisted(self, call: Callable[..., Any], validator: Validator) -> Any:
        ready = validator._ready
        assert ready is not None
        outgoing = call(validator)
        if any(entry.index in self._heights for entry in ready.entries):
            # Signed, and nothing of it sent.
            self._pull(AFTER_SIGNING)
        return outgoing

    def _certificate(self, call: Callable[..., None], book: CertificateBook, certificate: Any) -> None:
        call(book, certificate)
        if any(height <= certificate.height for height in self._heights):
            # Made of a quorum's signatures, and neither written nor told to anybody.
            self._pull(AFTER_CERTIFICATE)

    def _apply(self, call: Callable[..., Any], machine: Machine, block: Block) -> Any:
        if block.header.height not in self._heights:
            return call(machine, block)
        execute = machine._execute

        def first_then_never_again(*arguments: Any) -> Any:
            done = execute(*arguments)
            self._pull(DURING_APPLY)
            return done

        machine._execute = first_then_never_again  # type: ignore[method-assign]
        try:
            return call(machine, block)
        finally:
            machine._execute = execute  # type: ignore[method-assign]
            self._heights.discard(block.header.height)

    def _note(self, batch: Batch, chain_id: bytes) -> bool:
        """Remember the batch's blocks that carry a client's record, if this node leads; whether there are any."""
        if self._validator is None or self._validator.role != Role.LEADER:
            self._heights.clear()
            return False
        found = {
            entry.index
            for entry in batch.entries
            if any(isinstance(signed.record, Order | Reading) for signed in blocks.read(entry.data, chain_id).records)
        }
        self._heights |= found
        return bool(found)

    def _pull(self, point: str) -> None:
        try:
            wanted = self._trigger.read_text().strip()
        except FileNotFoundError:
            return
        if wanted != point:
            return
        # The next start is an ordinary one.
        self._trigger.rename(self._trigger.with_name(f"crashed-{point}"))
        os.kill(os.getpid(), signal.SIGKILL)


def _around(owner: type, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a method of a class by `wrapper(original, self, ...)`."""
    original = getattr(owner, name)

    def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        return wrapper(original, self, *arguments, **named)

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    Plug(Path(sys.argv[1])).wrap()
    sys.argv = [sys.argv[0], "run", sys.argv[1], "--json"]
    main()
