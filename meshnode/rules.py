"""Rules: what a binding's tree means to the state machine, resolved once per binding."""

from __future__ import annotations

import hashlib

import msgspec

from meshnode.ledger.book import BookRules
from meshnode.market import Mechanisms
from meshnode.settlement import Tariff, fund_account
from meshnode.settlement.closing import PeriodRules
from protocols.records import Limits
from zencode.binding import decode
from zencode.terms import Terms, terms

# The versions of the mechanisms that this catalogue's sentences mean.
MECHANISM_VERSION = 1


class Rules(msgspec.Struct, frozen=True):
    """A binding as the machine uses it.

    Attributes:
        binding: its hash.
        terms: its facts, one by one.
        roles_admitted: roles that its join rules accept.
    """

    binding: bytes
    terms: Terms
    period: PeriodRules
    book: BookRules
    roles_admitted: frozenset[str]


def rules_of(tree: bytes, limits: Limits, mechanisms: Mechanisms) -> Rules:
    """The rules of a binding.

    Args:
        tree: canonical bytes of the binding's tree.
    Raises:
        BindingTreeError: not a tree of this catalogue.
        TermsError: a binding that contradicts itself.
        MechanismError: it chooses a mechanism that is not installed.
    """
    facts = terms(decode(tree))
    mechanism = mechanisms.get(facts.order_mechanism, MECHANISM_VERSION) if facts.order_mechanism else None
    tariff = Tariff(
        grid_price_u_kwh=facts.grid_price_u_kwh,
        feed_in_price_u_kwh=facts.feed_in_price_u_kwh,
        sharing=facts.sharing_mechanism,
        fee_u_kwh=facts.fee_u_kwh,
        fee_split=tuple((fund_account(name), ppm) for name, ppm in facts.fee_split),
    )
    period = PeriodRules(
        length_s=facts.settlement_period_s,
        grace_s=facts.grace_s,
        correction_s=facts.correction_deadline_s,
        currency=facts.currency,
        tariff=tariff,
        mechanism=mechanism,
        estimate_days=facts.estimate_days or 0,
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
        roles_admitted=frozenset(rule.role for rule in facts.join_rules if rule.verdict == "accept"),
    )
