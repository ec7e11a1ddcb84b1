"""More registers: what meters count besides electricity at the connection point - storages, and heat.

They come in the same readings and are spread over missing ones in the same way. A meter without them has no row.
"""

from __future__ import annotations

import msgspec

from meshnode.ledger.origin_rows import MoreRegisters
from meshnode.ledger.state import State
from protocols.records import OpenCounters

NOT_METERED = -1
_NAMES = MoreRegisters.__struct_fields__


class More(msgspec.Struct, frozen=True):
    """Wh of one meter in one period; 0 where it is not metered. charged, discharged: into and out of storages."""

    charged_wh: int
    discharged_wh: int
    heat_import_wh: int
    heat_export_wh: int


def of(values: OpenCounters) -> MoreRegisters | None:
    """What a reading says of them; None if nothing."""
    found = [getattr(values, name) for name in _NAMES]
    if all(value is None for value in found):
        return None
    return MoreRegisters(*(NOT_METERED if value is None else value for value in found))


def rise(state: State, meter: bytes, before_s: int | None, now: MoreRegisters | None, after_s: int | None) -> bool:
    """Whether no register runs backwards from the known readings before and after."""
    before = None if before_s is None else state.more_registers.get((meter, before_s))
    after = None if after_s is None else state.more_registers.get((meter, after_s))
    return not (_falls(before, now) or _falls(now, after))


def enter(state: State, meter: bytes, start_s: int, now: MoreRegisters | None) -> None:
    """Write them, or remove what an older version of the reading said."""
    if now is not None:
        state.more_registers.put((meter, start_s), now)
    else:
        forget(state, meter, start_s)


def forget(state: State, meter: bytes, start_s: int) -> None:
    """Remove a row, if there is one."""
    if (meter, start_s) in state.more_registers:
        state.more_registers.delete((meter, start_s))


def share(state: State, meter: bytes, before_s: int, after_s: int, number: int, periods: int) -> More:
    """The `number`th of so many periods' part of what was counted between two readings."""
    before, after = state.more_registers.get((meter, before_s)), state.more_registers.get((meter, after_s))
    if before is None or after is None:
        return More(0, 0, 0, 0)
    totals = [
        0 if NOT_METERED in (begin, end) else end - begin
        for begin, end in zip(msgspec.structs.astuple(before), msgspec.structs.astuple(after), strict=True)
    ]
    return More(*(total * number // periods - total * (number - 1) // periods for total in totals))


def _falls(earlier: MoreRegisters | None, later: MoreRegisters | None) -> bool:
    if earlier is None or later is None:
        return False
    pairs = zip(msgspec.structs.astuple(earlier), msgspec.structs.astuple(later), strict=True)
    return any(end < begin for begin, end in pairs if NOT_METERED not in (begin, end))
