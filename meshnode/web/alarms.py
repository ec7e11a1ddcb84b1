"""Alarms: what the binding warns this node's member of."""

from __future__ import annotations

from meshnode.ledger.member_rows import Warning
from meshnode.web.backend import Backend
from meshnode.web.sight import EVERYONE, OTHERS


def warnings_for(backend: Backend) -> list[Warning]:
    """What this node's member is warned of, newest first."""
    state = backend.machine.state
    row = state.accounts.get(backend.account)
    audience = {EVERYONE, OTHERS, *(() if row is None else row.roles)}
    found = [warning for _, warning in state.warnings.items() if audience & set(warning.roles)]
    return found[::-1]
