"""Lint: what a community would regret about a binding that reads well, each with its reason.

An ERROR is a binding that cannot be carried out as it stands: it has no `terms`
and is not adopted. A WARNING is one that works and probably does not do what
its authors meant. The rules are in the modules of `zencode.lints`.

Works on the tree, so it holds for every language; the reasons are in English.
"""

from __future__ import annotations

from collections.abc import Callable

from zencode.binding import Binding
from zencode.lints import events, governing, names, prices, shares
from zencode.lints.finding import ERROR as ERROR
from zencode.lints.finding import TRADED as TRADED
from zencode.lints.finding import WARNING as WARNING
from zencode.lints.finding import Findings
from zencode.lints.finding import Lint as Lint


def lint(binding: Binding) -> list[Lint]:
    """Everything that is doubtful about a binding, errors first."""
    found = [finding for rule in RULES for finding in rule(binding)]
    return sorted(found, key=lambda finding: finding.level != ERROR)


def errors(binding: Binding) -> list[Lint]:
    """The findings with which a binding cannot be carried out."""
    return [finding for finding in lint(binding) if finding.level == ERROR]


RULES: tuple[Callable[[Binding], Findings], ...] = (
    shares.shares_not_whole,
    shares.ranks,
    shares.keys,
    prices.prices,
    prices.legal_limits,
    prices.order_sizes,
    prices.grid_fees,
    prices.credit,
    events.mechanisms,
    events.packages_under_conditions,
    events.said_twice,
    events.misplaced,
    prices.fees,
    prices.taxes,
    names.unknown_names,
    names.audiences_joining,
    names.two_things_by_one_name,
    names.assets,
    events.missing_blocks,
    events.never_runs,
    events.impossible,
    governing.contradicting_views,
    governing.unseen_bills,
    governing.published,
    governing.governance,
    governing.versions,
    governing.times,
)
