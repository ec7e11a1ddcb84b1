"""Events: lints of blocks - what cannot act, acts twice, or never runs."""

from __future__ import annotations

from typing import Any

from zencode import sentences as s
from zencode.binding import Binding, Block, Statement
from zencode.kinds import WHOLE_PPM
from zencode.lints.finding import Findings, actions, error, events, givens, slot, warning
from zencode.mechanisms import MATCHING, SHARING
from zencode.packages import FIRST_ID, package_of
from zencode.sentences import BY_ID

VERDICTS = (s.ACCEPT, s.REFUSE, s.ASK)
#: What may stand several times at one event, or is judged by a rule of its own.
_SEVERAL = (
    *(s.WARN, s.LET, s.HIDE, s.PROOF, s.SERVE_FIRST, s.PUBLISH, s.SEAL),
    *MATCHING,
    *SHARING,
    *VERDICTS,
)
#: Actions of which an event may have one for each value of a slot.
_ONE_EACH = {s.MINT: "asset", s.BURN: "asset", s.LEVY: "recipient"}
#: What holds for all members together; a condition about one of them says nothing there.
_FOR_ALL = (*SHARING, s.REOFFER, s.SPLIT, s.MOVE_NOTHING, s.PAY_WITH)
_ABOUT_ONE = (s.HAS_ROLE, s.BALANCE_ABOVE, s.BALANCE_BELOW, s.HOLDS_MORE, s.HOLDS_LESS)
#: (above, below, the slot with the bound): what is above the one is not below the other.
_OPPOSITES = (
    (s.SHARED_ABOVE, s.SHARED_BELOW, "share"),
    (s.PRICE_ABOVE, s.PRICE_BELOW, "price"),
    (s.BALANCE_ABOVE, s.BALANCE_BELOW, "amount"),
    (s.HOLDS_MORE, s.HOLDS_LESS, "units"),
    (s.CHARGED_ABOVE, s.CHARGED_BELOW, "share"),
)


def mechanisms(binding: Binding) -> Findings:
    """Orders that nothing matches, and events for which two mechanisms would do the same thing."""
    orders = [block for block in binding.blocks if block.event.id == s.ORDER]
    matching = [a for block in orders for a in block.actions if _matches(a)]
    if orders and not matching:
        reason = "orders are taken and nothing matches them: say how, or delete the event"
        yield error("no-mechanism", reason, orders[0].event)
    for event, is_mechanism in ((s.ORDER, _matches), (s.PERIOD_CLOSES, _shares)):
        # Under conditions, several may take turns.
        plain = [b for b in binding.blocks if b.event.id == event and not b.conditions]
        found = [action for block in plain for action in block.actions if is_mechanism(action)]
        for second in found[1:]:
            reason = f"{BY_ID[found[0].id].name} and {BY_ID[second.id].name} for one event: only one can act"
            yield error("two-mechanisms", reason, second)
    for block in orders:
        refusal = next((action for action in block.actions if action.id == s.REFUSE_ORDER), None)
        if refusal and not block.conditions:
            yield error("refuses-all", "every order is refused: no order could ever trade", refusal)


def packages_under_conditions(binding: Binding) -> Findings:
    """Statements of packages that would hold only at times."""
    for block in binding.blocks:
        for action in block.actions:
            if block.conditions and action.id >= FIRST_ID:
                reason = f"«{BY_ID[action.id].name}» is of a package and cannot stand under a condition"
                yield error("package-under-condition", reason, action)


def _matches(action: Statement) -> bool:
    package = package_of(action.id)
    return action.id in MATCHING if package is None else action.id in package.mechanisms


def _shares(action: Statement) -> bool:
    return action.id in SHARING


def said_twice(binding: Binding) -> Findings:
    """Actions of an event that would contradict one another, or act twice."""
    seen: set[tuple[Any, ...]] = set()
    for block in binding.blocks:
        for action in block.actions:
            key: tuple[Any, ...] = (action.id, block.conditions)
            if action.id == s.SPLIT:
                key += (slot(action, "fee"),)  # whatever the event, a fee is split in one way
            elif action.id == s.FEE_PER_KWH:
                key += (block.event, slot(action, "energy"))
            elif action.id in _SEVERAL:
                continue
            else:
                key += (block.event, slot(action, _ONE_EACH[action.id]) if action.id in _ONE_EACH else None)
            if key in seen:
                reason = f"the {BY_ID[action.id].name} is said twice for the same case: only one can hold"
                yield error("said-twice", reason, action)
            seen.add(key)


def misplaced(binding: Binding) -> Findings:
    """Conditions and actions that mean nothing for their event."""
    for block in binding.blocks:
        for part in (*block.conditions, *block.actions):
            row = BY_ID[part.id]
            if block.event.id not in row.under:
                event = BY_ID[block.event.id].name
                known = " or ".join(f"«{BY_ID[id].name}»" for id in row.under)
                yield error("misplaced", f"«{row.name}» means nothing when {event}; it belongs to {known}", part)
        about_one = next((part for part in block.conditions if part.id in _ABOUT_ONE), None)
        for action in block.actions:
            if about_one and action.id in _FOR_ALL:
                reason = f"«{BY_ID[action.id].name}» holds for all members, and the condition is about one of them"
                yield error("for-all", reason, action)


def missing_blocks(binding: Binding) -> Findings:
    """Events that every community meets and this binding does not speak of."""
    present = {block.event.id for block in binding.blocks}
    for event, consequence in (
        (s.JOIN, "nobody can join"),
        (s.LEAVE, "no time is left for corrections and the last bill"),
        (s.BILL_DUE, "bills are not netted and nobody else may see their data"),
    ):
        if event not in present:
            yield warning("no-block", f"nothing is said about «{BY_ID[event].name}»: {consequence}")


def never_runs(binding: Binding) -> Findings:
    """Blocks after one that always decides, and blocks that decide nothing or twice."""
    decided: set[Statement] = set()
    for block in binding.blocks:
        if block.event.id != s.JOIN:
            continue
        if block.event in decided:
            reason = "a block above always decides this request: this one can never run"
            yield error("never-runs", reason, block.actions[0])
        elif not block.conditions and _decides(block):
            decided.add(block.event)
        if not _decides(block):
            reason = "this block neither accepts nor refuses nor asks the members: nobody joins by it"
            yield warning("undecided", reason, block.actions[0])
        verdicts = [a for a in block.actions if a.id in VERDICTS]
        for second in verdicts[1:]:
            yield error("two-verdicts", "a request is decided once: keep one of these", second)


def impossible(binding: Binding) -> Findings:
    """Conditions that never hold together, and events that never come: a block that can never run."""
    for block in binding.blocks:
        yield from _opposites(block)
    lost = events(binding, s.GRID_LOST)
    if lost and not givens(binding, s.GRID_FEED):
        reason = "no feed tells whether the grid is there: this block can never run"
        yield error("never-happens", reason, lost[0])
    served = actions(binding, s.CRITICAL_FIRST)
    if served and not givens(binding, s.CRITICAL):
        yield warning("no-critical-load", "no meter is said to serve a critical load: none is served first", served[0])


def _opposites(block: Block) -> Findings:
    for above, below, bound in _OPPOSITES:
        highs = [part for part in block.conditions if part.id == above]
        for low in (part for part in block.conditions if part.id == below):
            if any(_same_thing(high, low, bound) and slot(high, bound) >= slot(low, bound) for high in highs):
                reason = "two conditions exclude one another: this block can never run"
                yield error("excluded", reason, low)
    sides = {part.id: part for part in block.conditions if part.id in (s.ORDER_SELLS, s.ORDER_BUYS)}
    if len(sides) > 1:
        yield error("excluded", "no order both sells and buys: this block can never run", sides[s.ORDER_BUYS])
    for part in block.conditions:
        if part.id in (s.SHARED_ABOVE, s.CHARGED_ABOVE) and slot(part, "share") == WHOLE_PPM:
            yield error("excluded", "nothing is above 100 %: this block can never run", part)


def _same_thing(one: Statement, other: Statement, bound: str) -> bool:
    """Whether two conditions speak of the same battery or asset."""
    names = [place.name for place in BY_ID[one.id].slots if place.name != bound]
    return all(slot(one, name) == slot(other, name) for name in names)


def _decides(block: Block) -> bool:
    return any(action.id in VERDICTS for action in block.actions)
