"""Replaying: a ledger on disk is executed again, when a node starts."""

from __future__ import annotations

from collections.abc import Callable

from meshnode.machine import Machine
from meshnode.store import Store
from meshnode.views import Views
from protocols import block as blocks

# One replayed block in so many is reported to whoever shows progress.
PROGRESS_EVERY = 50


def replay(machine: Machine, store: Store, views: Views | None, progress: Callable[[int, int], None]) -> None:
    """Execute the ledger on disk up to its final height, and bring the views along.

    Args:
        views: None where nobody is going to look at them.
        progress: gets (height, final height) now and then.
    """
    final = store.final_height()
    for height in range(machine.height + 1, final + 1):
        block = blocks.read(store.entry(height).data, machine.chain_id)
        events = machine.apply(block)
        if views is not None and height > views.height:
            views.apply(block, events)
        if height % PROGRESS_EVERY == 0:
            progress(height, final)
