"""Blocks: which actions an event has, in the order of the file.

Pure. A condition whose fact is not known is neither true nor false: its block is passed over, and the
outcome names the condition, so that whoever must decide refuses with that reason.
Source of the order: the binding is read from top to bottom, and the first refusal stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from meshnode.effects.calendar import Calendar
from meshnode.effects.facts import Facts
from zencode.binding import Binding, Block, Statement
from zencode.catalogue import ids

REFUSALS: Final = frozenset({ids.REFUSE, ids.REFUSE_ORDER, ids.REFUSE_READING})
"""Actions after which nothing that stands later is looked at."""


class Outcome(msgspec.Struct, frozen=True):
    """What an event comes to.

    Fields:
        actions: of all blocks whose conditions hold, in order, up to the first refusal with it.
        unknown: conditions that nobody could answer, in order.
    """

    actions: tuple[Statement, ...] = ()
    unknown: tuple[Statement, ...] = ()

    def of(self, *wanted: int) -> tuple[Statement, ...]:
        """The actions of these ids, in order."""
        return tuple(action for action in self.actions if action.id in wanted)

    def last(self, wanted: int) -> Any:
        """The values of the last action of an id, which overrides those before it; None without one."""
        found = self.of(wanted)
        return found[-1].slots if found else None

    @property
    def refused(self) -> bool:
        """Whether one of the actions refuses."""
        return any(action.id in REFUSALS for action in self.actions)


class Blocks:
    """The blocks of a binding, by event."""

    def __init__(self, binding: Binding, calendar: Calendar) -> None:
        self._calendar = calendar
        self._by_event: dict[int, list[Block]] = {}
        for block in binding.blocks:
            self._by_event.setdefault(block.event.id, []).append(block)

    def events(self, event: int) -> tuple[Statement, ...]:
        """The different events of one id that blocks speak of, in order: «a meter is silent for 30 minutes»."""
        return tuple(dict.fromkeys(block.event for block in self._by_event.get(event, ())))

    def at(self, event: int, facts: Facts, *slots: int | str) -> Outcome:
        """What an event comes to.

        Args:
            event: its id.
            slots: the values of the event, all of them; blocks of the event with other values are not looked at.
        """
        actions: list[Statement] = []
        unknown: list[Statement] = []
        for block in self._by_event.get(event, ()):
            if block.event.slots != slots:
                continue
            answers = {one: holds(one, facts, self._calendar) for one in block.conditions}
            if False in answers.values():
                continue
            asked = [one for one, answer in answers.items() if answer is None]
            unknown += asked
            if asked:
                continue
            for action in block.actions:
                actions.append(action)
                if action.id in REFUSALS:
                    return Outcome(tuple(actions), tuple(unknown))
        return Outcome(tuple(actions), tuple(unknown))


def holds(condition: Statement, facts: Facts, calendar: Calendar) -> bool | None:
    """Whether a condition holds; None if the fact is not known."""
    return _CONDITIONS[condition.id](condition.slots, facts, calendar)


_Check = Callable[[Any, Facts, Calendar], "bool | None"]


def _is_in(name: str) -> _Check:
    def check(slots: Any, facts: Facts, calendar: Calendar) -> bool | None:
        known = getattr(facts, name)
        return None if known is None else slots[0] in known

    return check


def _compare(name: str, sign: int) -> _Check:
    def check(slots: Any, facts: Facts, calendar: Calendar) -> bool | None:
        known = getattr(facts, name)
        return None if known is None else (known - slots[0]) * sign > 0

    return check


def _in_band(slots: Any, facts: Facts, calendar: Calendar) -> bool | None:
    return None if facts.time_s is None else calendar.in_band(slots[0], facts.time_s)


def _compare_units(sign: int) -> _Check:
    def check(slots: Any, facts: Facts, calendar: Calendar) -> bool | None:
        units, asset = slots
        return None if facts.units is None else (facts.units.get(asset, 0) - units) * sign > 0

    return check


def _compare_charge(sign: int) -> _Check:
    def check(slots: Any, facts: Facts, calendar: Calendar) -> bool | None:
        battery, share = slots
        charge = facts.charge_ppm.get(battery)
        return None if charge is None else (charge - share) * sign > 0

    return check


def _is_sale(wanted: bool) -> _Check:
    def check(slots: Any, facts: Facts, calendar: Calendar) -> bool | None:
        return None if facts.is_sale is None else facts.is_sale == wanted

    return check


_CONDITIONS: Final[dict[int, _Check]] = {
    ids.SHOWS: _is_in("credentials"),
    ids.BEHIND: _is_in("substations"),
    ids.IN_BAND: _in_band,
    ids.HAS_ROLE: _is_in("roles"),
    ids.SHARED_ABOVE: _compare("shared_ppm", 1),
    ids.SHARED_BELOW: _compare("shared_ppm", -1),
    ids.PRICE_ABOVE: _compare("grid_price_u_kwh", 1),
    ids.PRICE_BELOW: _compare("grid_price_u_kwh", -1),
    ids.BALANCE_ABOVE: _compare("balance_u", 1),
    ids.BALANCE_BELOW: _compare("balance_u", -1),
    ids.HOLDS_MORE: _compare_units(1),
    ids.HOLDS_LESS: _compare_units(-1),
    ids.CHARGED_ABOVE: _compare_charge(1),
    ids.CHARGED_BELOW: _compare_charge(-1),
    ids.ORDER_SELLS: _is_sale(True),
    ids.ORDER_BUYS: _is_sale(False),
}
CONDITIONS: Final = frozenset(_CONDITIONS)
"""Ids of the conditions that can be evaluated."""
