"""Names: lints of roles, bands, batteries, assets and devices that are used and never introduced."""

from __future__ import annotations

from collections.abc import Iterator

from zencode import sentences as s
from zencode.binding import Binding, Statement, statements
from zencode.kinds import ROLE
from zencode.lints.finding import Findings, actions, error, events, givens, slot, warning
from zencode.sentences import BY_ID
from zencode.words import AUDIENCES

#: Rows of earlier versions that name a battery; their rule says what follows from a name that nobody has.
_BATTERY_EVENTS = (s.BATTERY_DELIVERS, s.BATTERY_STORES)
#: Rows that introduce a name, so that it is known in all others.
INTRODUCED = {
    "band": (s.BAND, s.BAND_ON),
    "battery": (s.BATTERY,),
    "asset": (s.ASSET_IS,),
    "feeder": (s.FEEDER,),
}
_DEVICES = ((s.PLANT, "plant"), (s.BATTERY, "battery"), (s.CHARGING_POINT, "point"))


def unknown_names(binding: Binding) -> Findings:
    """Roles, bands, batteries, assets, feeders and devices that are used and never introduced."""
    roles = {word.canonical for word in AUDIENCES}
    roles |= {slot(given, "role") for given in givens(binding, s.ROLE_IS)}
    roles |= {slot(event, "role") for event in events(binding, s.JOIN)}
    for statement in _naming_roles(binding):
        for place, value in zip(BY_ID[statement.id].slots, statement.slots, strict=True):
            if place.kind is ROLE and value not in roles:
                reason = f"nobody has the role '{value}': no one joins as it and no given names it"
                yield warning("unknown-role", reason, statement)
    known = {
        what: {slot(given, what) for given in givens(binding, *introducing)} for what, introducing in INTRODUCED.items()
    }
    for block in binding.blocks:
        for condition in block.conditions:
            if condition.id == s.IN_BAND and slot(condition, "band") not in known["band"]:
                reason = f"the band '{slot(condition, 'band')}' is not given: this block can never run"
                yield error("unknown-band", reason, condition)
    for event in events(binding, *_BATTERY_EVENTS):
        if slot(event, "battery") not in known["battery"]:
            reason = f"the battery '{slot(event, 'battery')}' is not given: this block can never run"
            yield error("unknown-battery", reason, event)
    for statement in statements(binding):
        for what in INTRODUCED:
            if _names_newly(statement, what) and slot(statement, what) not in known[what]:
                yield error(f"unknown-{what}", f"the {what} '{slot(statement, what)}' is not given", statement)
    yield from _unknown_devices(binding)


def audiences_joining(binding: Binding) -> Findings:
    """A join or a role by a name that stands for many."""
    known = {word.canonical for word in AUDIENCES}
    for statement in (*givens(binding, s.ROLE_IS), *events(binding, s.JOIN)):
        role = slot(statement, "role")
        if role in known:
            reason = f"'{role}' stands for many; it is no role that one can have"
            yield error("audience-as-role", reason, statement)


def two_things_by_one_name(binding: Binding) -> Findings:
    """A band of every day that is also one of some days."""
    daily = {slot(given, "band") for given in givens(binding, s.BAND)}
    for given in givens(binding, s.BAND_ON):
        if slot(given, "band") in daily:
            reason = f"the band '{slot(given, 'band')}' runs on every day already"
            yield error("band-twice", reason, given)


def assets(binding: Binding) -> Findings:
    """Assets that are not what a sentence needs, come into being in two ways, or stand for two amounts of energy."""
    sorts = {slot(given, "asset"): slot(given, "sort") for given in givens(binding, s.ASSET_IS)}
    needed = [(action, "money") for action in actions(binding, s.PAY_WITH)]
    needed += [(given, "energy") for given in givens(binding, s.STORED_ENERGY)]
    for statement, sort in needed:
        asset = slot(statement, "asset")
        if sorts.get(asset, sort) != sort:
            yield error("sort-of-asset", f"the asset '{asset}' is no {sort}", statement)
    issued = {slot(given, "asset") for given in givens(binding, s.ISSUER)}
    minted: dict[str, int] = {}
    for action in actions(binding, s.MINT):
        asset = slot(action, "asset")
        minted[asset] = slot(action, "energy")
        if asset in issued:
            reason = f"the asset '{asset}' is minted for energy and has an issuer: only one can make it"
            yield error("two-sources", reason, action)
    for block in binding.blocks:
        for action in block.actions:
            if action.id != s.BURN:
                continue
            asset = slot(action, "asset")
            if block.event.id == s.REDEEMED and slot(block.event, "asset") != asset:
                reason = f"'{slot(block.event, 'asset')}' is redeemed and '{asset}' would be destroyed"
                yield error("other-asset", reason, action)
            elif minted.get(asset, slot(action, "energy")) != slot(action, "energy"):
                reason = f"a unit of '{asset}' is made for one amount of energy and destroyed for another"
                yield warning("uneven-units", reason, action)


def _naming_roles(binding: Binding) -> Iterator[Statement]:
    yield from binding.rules
    for block in binding.blocks:
        yield from block.conditions
        yield from block.actions


def _names_newly(statement: Statement, what: str) -> bool:
    """Whether a statement that does not introduce it names such a thing, and came after version 1."""
    row = BY_ID[statement.id]
    return row.since > 1 and row.id not in INTRODUCED[what] and any(place.name == what for place in row.slots)


def _unknown_devices(binding: Binding) -> Findings:
    devices = {slot(given, name) for id, name in _DEVICES for given in givens(binding, id)}
    for given in givens(binding, s.DEVICE_METER):
        if slot(given, "device") not in devices:
            reason = f"'{slot(given, 'device')}' is no plant, battery or charging point of this binding"
            yield error("unknown-device", reason, given)
    points = {slot(given, "point") for given in givens(binding, s.CHARGING_POINT)}
    for event in events(binding, s.CAR_CHARGES):
        # Without any given the points are those that members offer.
        if points and slot(event, "point") not in points:
            reason = f"the charging point '{slot(event, 'point')}' is not given: this block can never run"
            yield warning("unknown-point", reason, event)
