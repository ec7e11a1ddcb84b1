"""Lint: what a community would regret about a binding that reads well, each with its reason.

An ERROR is a binding that cannot be carried out as it stands: it has no `terms`
and is not adopted. A WARNING is one that works and probably does not do what
its authors meant. The rules are a table of functions at the end.

Works on the tree, so it holds for every language; the reasons are in English.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

from zencode import sentences as s
from zencode.binding import Binding, Block, Statement
from zencode.kinds import DAY_S, ROLE, WHOLE_PPM
from zencode.packages import FIRST_ID, package_of
from zencode.sentences import BY_ID
from zencode.words import AUDIENCES

ERROR, WARNING = "error", "warning"

TRADED = "traded energy"

_ORDER_MECHANISMS = (s.PAY_AS_CLEAR, s.ORDER_BOOK, s.FALLING)
_SHARING_MECHANISMS = (s.MID_MARKET, s.FIXED_SHARES, s.BY_USE)
_VERDICTS = (s.ACCEPT, s.REFUSE, s.ASK)
#: What may stand several times at one event, or is judged by a rule of its own.
_SEVERAL = (
    s.WARN,
    s.LET,
    s.HIDE,
    s.PROOF,
    s.SERVE_FIRST,
    *_ORDER_MECHANISMS,
    *_SHARING_MECHANISMS,
    *_VERDICTS,
)
#: Which fee a charge per kWh brings in, by the event that it is charged at.
_FEE_EVENTS = {
    s.PERIOD_CLOSES: "network fee",
    s.CAR_CHARGES: "charging fee",
    s.BATTERY_DELIVERS: "storage fee",
    s.BATTERY_STORES: "storage fee",
}


class Lint(Struct, frozen=True):
    """One finding. `statement` is the object of the tree it is about; None is the binding as a whole."""

    level: str
    name: str
    reason: str
    statement: Statement | None = None

    def __str__(self) -> str:
        return f"{self.level}: {self.reason} [{self.name}]"


Findings = Iterator[Lint]


def lint(binding: Binding) -> list[Lint]:
    """Everything that is doubtful about a binding, errors first."""
    found = [finding for rule in RULES for finding in rule(binding)]
    return sorted(found, key=lambda finding: finding.level != ERROR)


def errors(binding: Binding) -> list[Lint]:
    """The findings with which a binding cannot be carried out."""
    return [finding for finding in lint(binding) if finding.level == ERROR]


# --- Shares ------------------------------------------------------------------------------------------


def shares_not_whole(binding: Binding) -> Findings:
    """Shares of one thing that are not 100 %, or name a recipient twice."""
    for action in _actions(binding, s.SPLIT):
        shares = _slot(action, "shares")
        total = sum(ppm for ppm, _ in shares)
        if total != WHOLE_PPM:
            yield _error("shares", f"the shares add up to {_percent(total)}; a split divides 100 %", action)
        recipients = [recipient for _, recipient in shares]
        if len(set(recipients)) != len(recipients):
            yield _error("shares", "one recipient stands twice in a split; say one share for each", action)
    keys = [given for given in binding.givens if given.id == s.ALLOCATION]
    total = sum(_slot(given, "share") for given in keys)
    fixed = _actions(binding, s.FIXED_SHARES)
    if fixed and not keys:
        yield _error("shares", "fixed allocation shares need a share of every member", fixed[0])
    elif fixed and total != WHOLE_PPM:
        reason = f"the allocation shares add up to {_percent(total)}; production is shared only at 100 %"
        yield _error("shares", reason, keys[0])
    elif keys and not fixed:
        yield _warning("shares", "allocation shares are given and nothing is shared by them", keys[0])


# --- Prices ------------------------------------------------------------------------------------------


def prices(binding: Binding) -> Findings:
    """Limits that leave no room for a trade, or for one that both sides want."""
    floor, cap = _first(binding, s.FLOOR), _first(binding, s.CAP)
    grid, feed_in = binding.given(s.GRID_PRICE), binding.given(s.FEED_IN)
    if floor and cap and _price(floor) > _price(cap):
        yield _error("floor-above-cap", "the lowest price is above the highest: no order could ever trade", floor)
    fee = sum(_price(a) for a in _actions(binding, s.FEE_PER_KWH) if _slot(a, "energy") == TRADED)
    if cap and grid and _price(cap) + fee > _price(grid):
        reason = "the highest price, with the fee on top, is above the grid price, at which anybody can buy"
        yield _warning("cap-above-grid", reason, cap)
    if cap and feed_in and _price(cap) < _price(feed_in):
        reason = "the highest price is below the feed-in price: every seller would rather feed into the grid"
        yield _warning("cap-below-feed-in", reason, cap)
    if grid and feed_in and _price(feed_in) > _price(grid):
        reason = "the feed-in price is above the grid price: sharing would cost both sides money"
        yield _warning("feed-in-above-grid", reason, feed_in)
    pool = _first(binding, s.MID_MARKET)
    for given, name in ((grid, "grid price"), (feed_in, "feed-in price")):
        if pool and given is None:
            reason = f"the mid-market rate lies between grid and feed-in price, and the {name} is not given"
            yield _error("mid-market-prices", reason, pool)


# --- Mechanisms --------------------------------------------------------------------------------------


def mechanisms(binding: Binding) -> Findings:
    """Orders that nothing matches, and events for which two mechanisms would do the same thing."""
    orders = [block for block in binding.blocks if block.event.id == s.ORDER]
    matching = [a for block in orders for a in block.actions if _clears(a)]
    if orders and not matching:
        reason = "orders are taken and nothing matches them: say how, or delete the event"
        yield _error("no-mechanism", reason, orders[0].event)
    for event, is_mechanism in ((s.ORDER, _clears), (s.PERIOD_CLOSES, _shares)):
        # Under conditions, several may take turns.
        plain = [b for b in binding.blocks if b.event.id == event and not b.conditions]
        found = [action for block in plain for action in block.actions if is_mechanism(action)]
        for second in found[1:]:
            reason = f"{BY_ID[found[0].id].name} and {BY_ID[second.id].name} for one event: only one can act"
            yield _error("two-mechanisms", reason, second)


def packages_under_conditions(binding: Binding) -> Findings:
    """Statements of packages that would hold only at times."""
    for block in binding.blocks:
        for action in block.actions:
            if block.conditions and action.id >= FIRST_ID:
                reason = f"«{BY_ID[action.id].name}» is of a package and cannot stand under a condition"
                yield _error("package-under-condition", reason, action)


def said_twice(binding: Binding) -> Findings:
    """Actions of an event that would contradict one another, or act twice."""
    seen: set[tuple[Any, ...]] = set()
    for block in binding.blocks:
        for action in block.actions:
            key: tuple[Any, ...] = (action.id, block.conditions)
            if action.id == s.SPLIT:
                key += (_slot(action, "fee"),)  # whatever the event, a fee is split in one way
            elif action.id == s.FEE_PER_KWH:
                key += (block.event, _slot(action, "energy"))
            elif action.id in _SEVERAL:
                continue
            else:
                key += (block.event,)
            if key in seen:
                reason = f"the {BY_ID[action.id].name} is said twice for the same case: only one can hold"
                yield _error("said-twice", reason, action)
            seen.add(key)


def misplaced(binding: Binding) -> Findings:
    """Conditions and actions that mean nothing for their event."""
    for block in binding.blocks:
        for part in (*block.conditions, *block.actions):
            row = BY_ID[part.id]
            if block.event.id not in row.under:
                event = BY_ID[block.event.id].name
                known = " or ".join(f"«{BY_ID[id].name}»" for id in row.under)
                yield _error("misplaced", f"«{row.name}» means nothing when {event}; it belongs to {known}", part)


# --- Fees --------------------------------------------------------------------------------------------


def fees(binding: Binding) -> Findings:
    """Fees that are split and not charged, or charged and kept by nobody who is named."""
    charged: dict[str, Statement] = {}
    for block in binding.blocks:
        for action in block.actions:
            if action.id == s.FEE_PER_KWH and block.event.id in _FEE_EVENTS:
                charged.setdefault(_FEE_EVENTS[block.event.id], action)
            elif action.id == s.FEE_PER_CYCLE:
                charged.setdefault("membership fee", action)
    incentive = binding.given(s.INCENTIVE)
    if incentive:
        charged["incentive"] = incentive
    split = {_slot(action, "fee"): action for action in _actions(binding, s.SPLIT)}
    for fee, action in split.items():
        if fee not in charged:
            yield _warning("nothing-to-split", f"the {fee} is split and nothing brings it in", action)
    for fee, statement in charged.items():
        if fee not in split:
            reason = f"nothing says who receives the {fee}; it goes to the community fund"
            yield _warning("fee-without-split", reason, statement)


# --- Names -------------------------------------------------------------------------------------------


def unknown_names(binding: Binding) -> Findings:
    """Roles, bands and batteries that are used and never introduced."""
    roles = {word.canonical for word in AUDIENCES}
    roles |= {_slot(given, "role") for given in binding.givens if given.id == s.ROLE_IS}
    roles |= {_slot(event, "role") for event in _events(binding, s.JOIN)}
    for block in binding.blocks:
        for action in block.actions:
            for slot, value in zip(BY_ID[action.id].slots, action.slots, strict=True):
                if slot.kind is ROLE and value not in roles:
                    reason = f"nobody has the role '{value}': no one joins as it and no given names it"
                    yield _warning("unknown-role", reason, action)
    bands = {_slot(given, "band") for given in binding.givens if given.id == s.BAND}
    batteries = {_slot(given, "battery") for given in binding.givens if given.id == s.BATTERY}
    for block in binding.blocks:
        for condition in block.conditions:
            if condition.id == s.IN_BAND and _slot(condition, "band") not in bands:
                reason = f"the band '{_slot(condition, 'band')}' is not given: this block can never run"
                yield _error("unknown-band", reason, condition)
    for event in _events(binding, s.BATTERY_DELIVERS, s.BATTERY_STORES):
        if _slot(event, "battery") not in batteries:
            reason = f"the battery '{_slot(event, 'battery')}' is not given: this block can never run"
            yield _error("unknown-battery", reason, event)


def audiences_joining(binding: Binding) -> Findings:
    """A join or a role by a name that stands for many."""
    known = {word.canonical for word in AUDIENCES}
    given = [statement for statement in binding.givens if statement.id == s.ROLE_IS]
    for statement in (*given, *_events(binding, s.JOIN)):
        role = _slot(statement, "role")
        if role in known:
            reason = f"'{role}' stands for many; it is no role that one can have"
            yield _error("audience-as-role", reason, statement)


# --- Membership and time -----------------------------------------------------------------------------


def missing_blocks(binding: Binding) -> Findings:
    """Events that every community meets and this binding does not speak of."""
    present = {block.event.id for block in binding.blocks}
    for event, consequence in (
        (s.JOIN, "nobody can join"),
        (s.LEAVE, "no time is left for corrections and the last bill"),
        (s.BILL_DUE, "bills are not netted and nobody else may see their data"),
    ):
        if event not in present:
            yield _warning("no-block", f"nothing is said about «{BY_ID[event].name}»: {consequence}")


def never_runs(binding: Binding) -> Findings:
    """Blocks after one that always decides."""
    decided: set[Statement] = set()
    for block in binding.blocks:
        if block.event.id != s.JOIN:
            continue
        if block.event in decided:
            reason = "a block above always decides this request: this one can never run"
            yield _error("never-runs", reason, block.actions[0])
        elif not block.conditions and _decides(block):
            decided.add(block.event)
        if not _decides(block):
            reason = "this block neither accepts nor refuses nor asks the members: nobody joins by it"
            yield _warning("undecided", reason, block.actions[0])
        verdicts = [a for a in block.actions if a.id in _VERDICTS]
        for second in verdicts[1:]:
            yield _error("two-verdicts", "a request is decided once: keep one of these", second)


def contradicting_views(binding: Binding) -> Findings:
    """The same thing shown to and hidden from the same role."""
    shown = {(_slot(a, "role"), _slot(a, "view")) for a in _actions(binding, s.LET)}
    for action in _actions(binding, s.HIDE):
        role, view = _slot(action, "role"), _slot(action, "view")
        if (role, view) in shown:
            reason = f"'{view}' is both shown to '{role}' and hidden: hiding wins"
            yield _warning("let-and-hide", reason, action)


def governance(binding: Binding) -> Findings:
    """A binding that too few could change."""
    changes = binding.given(s.CHANGES)
    if changes is None:
        reason = "nothing says how this binding changes: all members must agree, with 30 days notice"
        yield _warning("changes-unsaid", reason)
    elif _slot(changes, "votes") * 2 < WHOLE_PPM:
        yield _warning("below-half", "a minority could change the binding against the others", changes)


def times(binding: Binding) -> Findings:
    """Periods and deadlines that do not fit together."""
    period, grace = binding.given(s.PERIOD), binding.given(s.GRACE)
    corrections = binding.given(s.CORRECTIONS)
    if period and DAY_S % _slot(period, "period"):
        yield _error("uneven-period", "a day does not hold a whole number of these periods", period)
    if grace and corrections and _slot(corrections, "deadline") < _slot(grace, "grace"):
        reason = "corrections end before the period has settled: none could ever count"
        yield _warning("late-corrections", reason, corrections)


# --- Helpers -----------------------------------------------------------------------------------------


def _error(name: str, reason: str, statement: Statement | None = None) -> Lint:
    return Lint(ERROR, name, reason, statement)


def _warning(name: str, reason: str, statement: Statement | None = None) -> Lint:
    return Lint(WARNING, name, reason, statement)


def _slot(statement: Statement, name: str) -> Any:
    return statement.slots[BY_ID[statement.id].index(name)]


def _clears(action: Statement) -> bool:
    package = package_of(action.id)
    return action.id in _ORDER_MECHANISMS if package is None else action.id in package.mechanisms


def _shares(action: Statement) -> bool:
    return action.id in _SHARING_MECHANISMS


def _price(statement: Statement) -> int:
    price: int = _slot(statement, "price")
    return price


def _actions(binding: Binding, *ids: int) -> list[Statement]:
    return [action for block in binding.blocks for action in block.actions if action.id in ids]


def _first(binding: Binding, id: int) -> Statement | None:
    return next(iter(_actions(binding, id)), None)


def _events(binding: Binding, *ids: int) -> list[Statement]:
    return [block.event for block in binding.blocks if block.event.id in ids]


def _decides(block: Block) -> bool:
    return any(action.id in _VERDICTS for action in block.actions)


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04}".rstrip("0").rstrip(".") + " %"


RULES: tuple[Callable[[Binding], Findings], ...] = (
    shares_not_whole,
    prices,
    mechanisms,
    packages_under_conditions,
    said_twice,
    misplaced,
    fees,
    unknown_names,
    audiences_joining,
    missing_blocks,
    never_runs,
    contradicting_views,
    governance,
    times,
)
