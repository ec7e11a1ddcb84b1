"""Rules: what a binding's tree means to the state machine, resolved once per binding."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from meshnode.effects import Blocks, Calendar, Facts
from meshnode.effects.carried import not_carried
from meshnode.ledger.book import BookRules
from meshnode.ledger.verdicts import Verdict
from meshnode.local_time import Zone
from meshnode.market import Mechanism, MechanismError, Mechanisms
from meshnode.market.mechanism import ability_of
from meshnode.settlement import MODES, SettlementError, Tariff, fund_account
from meshnode.settlement.additions import Chosen
from meshnode.settlement.agreed import Agreed
from meshnode.settlement.closing import PeriodRules
from meshnode.settlement.member_rules import MemberRules, member_rules
from protocols.records import Genesis, Limits
from zencode.binding import Binding, BindingTreeError, Statement, binding_hash, decode, pins, pins_of, statements
from zencode.catalogue import ids
from zencode.packages import Pin, number_of, package_of
from zencode.sentences import CURRENCY_IS, TIME_ZONE
from zencode.terms import ORDER_MECHANISMS, SHARING_MECHANISMS, Terms, TermsError, terms
from zencode.versions import needs
from zencode.writer import write_statement

# The versions of the mechanisms that this catalogue's sentences mean.
MECHANISM_VERSION = 1


class Rules(msgspec.Struct, frozen=True):
    """A binding as the machine uses it.

    Attributes:
        binding: its hash.
        terms: its facts, one by one.
        catalogue: version of the catalogue that it needs.
        packages: of statements that it uses, by name and version.
        blocks: what it says of events.
        members: what it says of membership and bills.
        pausing: (role, for how long at most, in seconds) that may pause the matching of orders.
    """

    binding: bytes
    catalogue: int
    packages: tuple[Pin, ...]
    terms: Terms
    period: PeriodRules
    book: BookRules
    blocks: Blocks
    members: MemberRules
    pausing: tuple[tuple[str, int], ...] = ()


def hindrances(binding: Binding, mechanisms: Mechanisms, language: str = "en") -> tuple[str, ...]:
    """The sentences because of which this version cannot found a microgrid with a binding.

    Raises:
        TermsError: a binding that contradicts itself.
    """
    facts = terms(binding)
    absent = {name for name, version in needed_mechanisms(binding, facts) if not _has(mechanisms, name, version)}

    def missing(statement: Statement) -> bool:
        sharing, orders = SHARING_MECHANISMS.get(statement.id), ORDER_MECHANISMS.get(statement.id)
        if sharing is not None:
            return sharing == facts.sharing_mechanism and sharing not in MODES
        if statement.id == ids.MECHANISM:
            return statement.slots[0] in absent
        package = package_of(statement.id)
        if package is not None:
            return statement.id in package.mechanisms and package.mechanisms[statement.id][0] in absent
        return orders is not None and orders == facts.order_mechanism and orders in absent

    return _spoken(binding, [one for one in statements(binding) if missing(one)], language)


def zone_said(binding: Binding) -> str | None:
    """The time zone that a binding's times of day are of; None if it does not say."""
    said = binding.given(TIME_ZONE)
    return None if said is None else str(said.slots[0])


def left_out(binding: Binding, language: str = "en") -> tuple[str, ...]:
    """The sentences of a binding that this version reads and does not carry out, each once."""
    catalogue = [statement for statement in statements(binding) if package_of(statement.id) is None]
    return _spoken(binding, not_carried(catalogue), language)


def needed_catalogue(binding: Binding) -> int:
    """The catalogue version that a node needs for a binding: that of its sentences, or the one that it says."""
    said = binding.given(ids.CATALOGUE)
    return max(needs(binding), _whole(said.slots[0]) if said else 0)


def needed_mechanisms(binding: Binding, facts: Terms) -> tuple[Pin, ...]:
    """The mechanisms, by name and version, that a node must have installed to carry a binding out."""
    pinned = _pinned(binding)
    clearing = _clearing(binding, facts)
    if clearing is not None:
        pinned.setdefault(*clearing)
    return tuple(sorted(pinned.items()))


def needed_abilities(binding: Binding, facts: Terms) -> tuple[Pin, ...]:
    """What a node must have declared to carry a binding out: mechanisms, and packages of statements among them."""
    return tuple(sorted([*needed_mechanisms(binding, facts), *map(ability_of, pins(binding))]))


def _pinned(binding: Binding) -> dict[str, int]:
    """The versions of mechanisms that a binding names."""
    return {str(one.slots[0]): _whole(one.slots[1]) for one in binding.rules if one.id == ids.MECHANISM}


def _clearing(binding: Binding, facts: Terms) -> Pin | None:
    """The mechanism that clears orders, chosen by a sentence of the catalogue or of a package."""
    if facts.order_mechanism:
        return facts.order_mechanism, MECHANISM_VERSION
    for statement in statements(binding):
        package = package_of(statement.id)
        if package is not None and statement.id in package.mechanisms:
            return package.mechanisms[statement.id]
    return None


def _additions(binding: Binding, length_s: int) -> tuple[Chosen, ...]:
    """The statements of packages that charge something, in the order of the binding."""
    found = []
    for statement in statements(binding):
        package = package_of(statement.id)
        if package is not None and statement.id not in package.mechanisms:
            number = number_of(statement.id)
            found.append(Chosen(*package.pin, number, statement.slots, length_s, package.effect))
    return tuple(found)


def _whole(value: Any) -> int:
    number: int = value
    return number


def can_be_judged(tree: bytes, catalogue: int, mechanisms: tuple[Pin, ...], ground: Rules) -> bool:
    """Whether every node that carries out the binding in force can tell if a tree is `unfit`.

    It has the catalogue of that binding and its packages of statements. Another package is known to some nodes only,
    and what they know may not change what all of them say.

    Args:
        catalogue, mechanisms: what a node needs to carry it out, as its proposal says.
        ground: the rules in force.
    """
    if catalogue > ground.catalogue:
        return False
    try:
        named = pins_of(tree)
    except BindingTreeError:
        return True
    # One that its proposal does not name makes it unfit, whether it is known here or not.
    return not _names(mechanisms, named) or set(named) <= set(ground.packages)


def unfit(tree: bytes, catalogue: int, mechanisms: tuple[Pin, ...], ground: Rules, genesis: Genesis) -> Verdict:
    """Whether a tree could take the place of the binding in force; the same on every node that has what it needs.

    Args:
        catalogue, mechanisms: what a node needs to carry it out, as its proposal says. Which of these mechanisms are
            installed here does not matter; of the packages of statements among them it must have those that the tree
            names, see `can_be_judged`.
        ground: the rules in force.
    """
    try:
        if not _names(mechanisms, pins_of(tree)):
            return Verdict.BINDING_UNFIT
        binding = decode(tree)
        facts = terms(binding)
        _resolved(binding, facts, None, genesis.limits, genesis.zone_changes)
    except (BindingTreeError, TermsError, SettlementError):
        return Verdict.BINDING_UNFIT
    if needed_catalogue(binding) > catalogue or not set(needed_abilities(binding, facts)) <= set(mechanisms):
        return Verdict.BINDING_UNFIT
    # The table of local time is the genesis's.
    if zone_said(binding) not in (None, genesis.zone):
        return Verdict.OTHER_GROUND
    # Amounts of another currency, and registers of other periods, could not be set against those that there are.
    if (facts.currency, facts.settlement_period_s) != (ground.period.currency, ground.period.length_s):
        return Verdict.OTHER_GROUND
    return Verdict.ACCEPTED


def _names(mechanisms: tuple[Pin, ...], packages: Iterable[Pin]) -> bool:
    """Whether a proposal says that its binding needs these packages of statements."""
    return {ability_of(pin) for pin in packages} <= set(mechanisms)


def _has(mechanisms: Mechanisms, name: str, version: int) -> bool:
    try:
        mechanisms.get(name, version)
    except MechanismError:
        return False
    return True


def _spoken(binding: Binding, found: Iterable[Statement], language: str) -> tuple[str, ...]:
    given = binding.given(CURRENCY_IS)
    currency = str(given.slots[0]) if given else ""
    return tuple(dict.fromkeys(write_statement(one, language, currency) for one in found))


def rules_of(tree: bytes, limits: Limits, mechanisms: Mechanisms, zone: Zone = ()) -> Rules:
    """The rules of a binding.

    Args:
        tree: canonical bytes of the binding's tree.
        zone: offsets from UTC, as the genesis has them; without, bands run in UTC.
    Raises:
        PackageMissing: it uses a package that is not installed.
        BindingTreeError: not a tree of this catalogue.
        TermsError: a binding that contradicts itself.
        MechanismError: it chooses a mechanism that is not installed.
    """
    binding = decode(tree)
    facts = terms(binding)
    found = {name: mechanisms.get(name, version) for name, version in needed_mechanisms(binding, facts)}
    clearing = _clearing(binding, facts)
    mechanism = found[clearing[0]] if clearing is not None else None
    return _resolved(binding, facts, mechanism, limits, zone)


def _resolved(binding: Binding, facts: Terms, mechanism: Mechanism | None, limits: Limits, zone: Zone) -> Rules:
    """All that follows from a tree and is the same on every node that has its packages.

    Raises:
        SettlementError: no period could be settled by it.
    """
    calendar = Calendar(binding, zone)
    blocks = Blocks(binding, calendar)
    agreed = Agreed(binding, blocks, calendar)
    period = PeriodRules(
        length_s=facts.settlement_period_s,
        grace_s=facts.grace_s,
        correction_s=facts.correction_deadline_s,
        currency=facts.currency,
        tariff=_tariff(binding, facts, agreed),
        mechanism=mechanism,
        estimate_days=agreed.most_estimate_days,
        agreed=agreed,
        billing_months=facts.billing_months,
        billing_s=facts.billing_s,
    )
    book = BookRules(
        open=mechanism is not None,
        floor_u_kwh=facts.price_floor_u_kwh,
        cap_u_kwh=facts.price_cap_u_kwh,
        max_order_wh=facts.max_order_wh,
        max_ahead_s=limits.max_order_ahead_s,
        period_length_s=facts.settlement_period_s,
    )
    return Rules(
        binding=binding_hash(binding),
        catalogue=needed_catalogue(binding),
        packages=pins(binding),
        terms=facts,
        period=period,
        book=book,
        blocks=blocks,
        members=member_rules(binding, facts, zone),
        pausing=tuple((str(one.slots[0]), _whole(one.slots[1])) for one in binding.rules if one.id == ids.MAY_PAUSE),
    )


def _tariff(binding: Binding, facts: Terms, agreed: Agreed) -> Tariff:
    return Tariff(
        grid_price_u_kwh=facts.grid_price_u_kwh,
        feed_in_price_u_kwh=facts.feed_in_price_u_kwh,
        sharing=agreed.sharing(agreed.closing(Facts())),
        shared_price_u_kwh=agreed.shared_price_u_kwh,
        fee_u_kwh=facts.fee_u_kwh,
        fee_split=tuple((fund_account(name), ppm) for name, ppm in facts.fee_split),
        additions=_additions(binding, facts.settlement_period_s),
    )
