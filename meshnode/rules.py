"""Rules: what a binding's tree means to the state machine, resolved once per binding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from meshnode.effects import Blocks, Calendar
from meshnode.effects.carried import not_carried
from meshnode.ledger.book import BookRules
from meshnode.local_time import Zone
from meshnode.market import MechanismError, Mechanisms
from meshnode.settlement import MODES, Tariff, Weighing, fund_account
from meshnode.settlement.additions import Chosen
from meshnode.settlement.closing import PeriodRules
from protocols.records import Limits
from zencode.binding import Binding, Statement, decode, statements
from zencode.packages import Pin, number_of, package_of
from zencode.sentences import CURRENCY_IS
from zencode.terms import ORDER_MECHANISMS, SHARING_MECHANISMS, Terms, terms
from zencode.writer import write_statement

# The versions of the mechanisms that this catalogue's sentences mean.
MECHANISM_VERSION = 1
# What a way to share becomes when unused shares are offered again; ways that leave nothing unused stay.
_REOFFERED = {"static": "static-reoffered"}


class Rules(msgspec.Struct, frozen=True):
    """A binding as the machine uses it.

    Attributes:
        binding: its hash.
        terms: its facts, one by one.
        blocks: what it says of events.
        roles_admitted: roles that its join rules accept.
    """

    binding: bytes
    terms: Terms
    period: PeriodRules
    book: BookRules
    blocks: Blocks
    roles_admitted: frozenset[str]


def hindrances(binding: Binding, mechanisms: Mechanisms, language: str = "en") -> tuple[str, ...]:
    """The sentences because of which this version cannot found a microgrid with a binding.

    Raises:
        TermsError: a binding that contradicts itself.
    """
    facts = terms(binding)

    def missing(statement: Statement) -> bool:
        sharing, orders = SHARING_MECHANISMS.get(statement.id), ORDER_MECHANISMS.get(statement.id)
        if sharing is not None:
            return sharing == facts.sharing_mechanism and sharing not in MODES
        package = package_of(statement.id)
        if package is not None:
            return statement.id in package.mechanisms and not _has(mechanisms, package.mechanisms[statement.id])
        return (
            orders is not None and orders == facts.order_mechanism and not _has(mechanisms, (orders, MECHANISM_VERSION))
        )

    return _spoken(binding, [one for one in statements(binding) if missing(one)], language)


def left_out(binding: Binding, language: str = "en") -> tuple[str, ...]:
    """The sentences of a binding that this version reads and does not carry out, each once."""
    catalogue = [statement for statement in statements(binding) if package_of(statement.id) is None]
    return _spoken(binding, not_carried(catalogue), language)


def _sharing(facts: Terms) -> str | None:
    """The mode of settlement that the sentences of sharing mean."""
    chosen = facts.sharing_mechanism
    return _REOFFERED.get(chosen, chosen) if chosen and facts.offer_unused_again else chosen


def _pinned(binding: Binding) -> Pin | None:
    """The mechanism that a statement of a package chooses for orders."""
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


def _has(mechanisms: Mechanisms, pin: Pin) -> bool:
    try:
        mechanisms.get(*pin)
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
    pin = (facts.order_mechanism, MECHANISM_VERSION) if facts.order_mechanism else _pinned(binding)
    mechanism = mechanisms.get(*pin) if pin is not None else None
    sharing = _sharing(facts)
    tariff = Tariff(
        grid_price_u_kwh=facts.grid_price_u_kwh,
        feed_in_price_u_kwh=facts.feed_in_price_u_kwh,
        sharing=sharing,
        fee_u_kwh=facts.fee_u_kwh,
        fee_split=tuple((fund_account(name), ppm) for name, ppm in facts.fee_split),
        additions=_additions(binding, facts.settlement_period_s),
    )
    period = PeriodRules(
        length_s=facts.settlement_period_s,
        grace_s=facts.grace_s,
        correction_s=facts.correction_deadline_s,
        currency=facts.currency,
        tariff=tariff,
        mechanism=mechanism,
        estimate_days=facts.estimate_days or 0,
        shares=facts.allocation_shares if sharing and MODES[sharing].rule.weighing is Weighing.SHARES else (),
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
        binding=hashlib.sha256(tree).digest(),
        terms=facts,
        period=period,
        book=book,
        blocks=Blocks(binding, Calendar(binding, zone)),
        roles_admitted=frozenset(rule.role for rule in facts.join_rules if rule.verdict == "accept"),
    )
