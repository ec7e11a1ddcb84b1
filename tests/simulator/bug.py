"""Bug: something that a mutant changes in the product."""

from __future__ import annotations

import msgspec

from tests.simulator.plan import MAX_APPEND_BYTES, Plan


class Change(msgspec.Struct, frozen=True):
    """In `function` (package.module:Class.method) the text `old` becomes `new`."""

    function: str
    old: str
    new: str


class Bug(msgspec.Struct, frozen=True):
    """One bug.

    Attributes:
        needs: faults or lies without which it cannot show; seeds that lack one are passed over.
        append_bytes: likewise, the most that an append may carry.
    """

    name: str
    changes: tuple[Change, ...]
    needs: tuple[str, ...] = ()
    append_bytes: int = MAX_APPEND_BYTES
    mode: str = "majority"

    def fits(self, plan: Plan) -> bool:
        """Whether a seed could show the bug."""
        return {*plan.faults, *plan.lies}.issuperset(self.needs) and plan.append_bytes <= self.append_bytes
