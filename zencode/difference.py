"""Difference: what changes from one binding to another, in sentences.

Works on the trees, so the two texts may be in different languages. A sentence
that stays and has another value is a change; blocks are known again by their
event and conditions, actions by what they name. What only stands elsewhere is
moved: events are handled in the order of the text, and the first refusal stops.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

from msgspec import Struct

from zencode.binding import Binding, Block, Statement, binding_hash, same_fact
from zencode.kinds import NAME
from zencode.languages import LANGUAGES, Phase
from zencode.sentences import BY_ID, CURRENCY_IS
from zencode.wording import WORDINGS
from zencode.writer import WriteError, write_statement

ADDED, REMOVED, CHANGED, MOVED, TITLE = "added", "removed", "changed", "moved", "title"

T = TypeVar("T")


class Change(Struct, frozen=True):
    """One change.

    `kind` is "added", "removed", "changed", "moved" or "title"; `name` the row of
    the catalogue, "" for the title. `before` and `after` are sentences, "" where
    there is none. `under` is the event and conditions around it, as they stand in
    the new binding, else in the old. A moved sentence has in `above` what now
    stands before it, "" if nothing does.
    """

    kind: str
    name: str
    before: str
    after: str
    under: tuple[str, ...] = ()
    above: str = ""


class Difference(Struct, frozen=True):
    """All changes, in the order of the text; without any, both hashes are equal."""

    language: str
    old_hash: str
    new_hash: str
    changes: tuple[Change, ...]


def compare(old: Binding, new: Binding, language: str = "en") -> Difference:
    """What changes from `old` to `new`, told in `language`.

    Raises:
        WriteError: no such language.
    """
    if language not in LANGUAGES:
        raise WriteError(f"no language «{language}»; the catalogue has {', '.join(LANGUAGES)}")
    changes = _Comparison(old, new, language).changes()
    return Difference(language, binding_hash(old).hex(), binding_hash(new).hex(), tuple(changes))


def difference_text(found: Difference) -> str:
    """The changes as lines; what happens at one event stands under it."""
    words = WORDINGS[found.language]
    if not found.changes:
        return words.same + "\n"
    lines: list[str] = []
    under: tuple[str, ...] = ()
    for change in found.changes:
        if change.under != under:
            under = change.under
            lines += ["", *under] if under else [""]
        lines.append(("    " if under else "") + _told(change, found.language))
    return "\n".join(lines).strip("\n") + "\n"


def _told(change: Change, language: str) -> str:
    words = WORDINGS[language]
    before, after = f"«{change.before}»", f"«{change.after}»"
    if change.kind == ADDED:
        return words.added.format(after)
    if change.kind == REMOVED:
        return words.removed.format(before)
    if change.kind == MOVED:
        return words.moved.format(after, f"«{change.above}»") if change.above else words.first.format(after)
    return (words.title if change.kind == TITLE else words.becomes).format(before, after)


class _Comparison:
    """Compares two bindings; sentences are said with the currency of the binding that they stand in."""

    def __init__(self, old: Binding, new: Binding, language: str) -> None:
        self.old, self.new = old, new
        self._language = language
        self._keywords = LANGUAGES[language].keywords

    def changes(self) -> list[Change]:
        found = []
        old_title, new_title = (f"'{one.scenario}': {one.title}" for one in (self.old, self.new))
        if old_title != new_title:
            found.append(Change(TITLE, "", old_title, new_title))
        found += self._facts(self.old.rules, self.new.rules)
        found += self._facts(self.old.givens, self.new.givens)
        return found + self._blocks()

    def _facts(self, old: Sequence[Statement], new: Sequence[Statement]) -> list[Change]:
        known = {same_fact(fact): fact for fact in old}
        found = []
        for fact in new:
            before = known.pop(same_fact(fact), None)
            # Another currency also changes how every price is said, though its number stays.
            if before != fact or self._before(before) != self._after(fact):
                found.append(self._change(before, fact))
        return [self._change(fact, None) for fact in known.values()] + found

    def _blocks(self) -> list[Change]:
        pairs = _paired(self.old.blocks, self.new.blocks, _BLOCK_LIKENESS)
        kept = {after: before for before, after in pairs}
        moved = _moved([(kept[at], at) for at in sorted(kept)])
        found = []
        for at in sorted(set(range(len(self.old.blocks))) - set(kept.values())):
            found += self._block(self.old.blocks[at], None)
        for at, block in enumerate(self.new.blocks):
            before = self.old.blocks[kept[at]] if at in kept else None
            found += self._block(before, block)
            if at in moved:
                above = self._after(self.new.blocks[at - 1].event, Phase.WHEN) if at else ""
                said = self._after(block.event, Phase.WHEN)
                found.append(Change(MOVED, BY_ID[block.event.id].name, said, said, (), above))
        return found

    def _block(self, old: Block | None, new: Block | None) -> list[Change]:
        """The changes of one block; of a block that comes or goes, all its sentences."""
        under = self._under(old, new)
        found = []
        before, after = old.event if old else None, new.event if new else None
        if before != after:
            found.append(self._change(before, after, phase=Phase.WHEN))
        if old is not None and new is not None:
            found += self._list(old.conditions, new.conditions, under[:1])
        return found + self._list(old.actions if old else (), new.actions if new else (), under)

    def _list(self, old: Sequence[Statement], new: Sequence[Statement], under: tuple[str, ...]) -> list[Change]:
        pairs = _paired(old, new, _STATEMENT_LIKENESS)
        kept = {after: before for before, after in pairs}
        moved = _moved([(kept[at], at) for at in sorted(kept)])
        gone = sorted(set(range(len(old))) - set(kept.values()))
        found = [self._change(old[at], None, under) for at in gone]
        for at, statement in enumerate(new):
            before = old[kept[at]] if at in kept else None
            if before is None or before != statement or self._before(before) != self._after(statement):
                found.append(self._change(before, statement, under))
            if at in moved:
                said = self._after(statement)
                above = self._after(new[at - 1]) if at else ""
                found.append(Change(MOVED, BY_ID[statement.id].name, said, said, under, above))
        return found

    def _change(
        self, old: Statement | None, new: Statement | None, under: tuple[str, ...] = (), phase: Phase | None = None
    ) -> Change:
        statement = new or old
        assert statement is not None, "a change is of something"
        kind = REMOVED if new is None else ADDED if old is None else CHANGED
        return Change(kind, BY_ID[statement.id].name, self._before(old, phase), self._after(new, phase), under)

    def _under(self, old: Block | None, new: Block | None) -> tuple[str, ...]:
        say, block = (self._after, new) if new is not None else (self._before, old)
        assert block is not None, "a block is in one of the two"
        conditions = [say(one, Phase.AND if number else Phase.IF) for number, one in enumerate(block.conditions)]
        return (say(block.event, Phase.WHEN), *conditions)

    def _before(self, statement: Statement | None, phase: Phase | None = None) -> str:
        return self._said(self.old, statement, phase)

    def _after(self, statement: Statement | None, phase: Phase | None = None) -> str:
        return self._said(self.new, statement, phase)

    def _said(self, binding: Binding, statement: Statement | None, phase: Phase | None) -> str:
        if statement is None:
            return ""
        given = binding.given(CURRENCY_IS)
        said = write_statement(statement, self._language, str(given.slots[0]) if given else "")
        return said if phase is None else f"{self._keywords[phase][0]} {said}"


def _paired(old: Sequence[T], new: Sequence[T], likeness: Sequence[Callable[[T], object]]) -> list[tuple[int, int]]:
    """Which of the old is which of the new, by the strictest likeness first; equals in their order."""
    pairs: list[tuple[int, int]] = []
    old_left, new_left = list(range(len(old))), list(range(len(new)))
    for key in likeness:
        waiting: dict[object, list[int]] = {}
        for at in old_left:
            waiting.setdefault(key(old[at]), []).append(at)
        for at in tuple(new_left):
            same = waiting.get(key(new[at]))
            if same:
                pairs.append((same.pop(0), at))
                old_left.remove(pairs[-1][0])
                new_left.remove(at)
    return pairs


def _moved(pairs: Sequence[tuple[int, int]]) -> set[int]:
    """Of (old place, new place) pairs in new order, the new places outside the longest run that kept its order."""
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (old, _) in enumerate(pairs):
        length = bisect_left(ends, old)
        ends[length:] = [old, *ends[length + 1 :]]
        last[length:] = [number, *last[length + 1 :]]
        before.append(last[length - 1] if length else -1)
    stay = set()
    number = last[-1] if last else -1
    while number >= 0:
        stay.add(pairs[number][1])
        number = before[number]
    return {new for _, new in pairs} - stay


def _names(statement: Statement) -> tuple[object, ...]:
    row = BY_ID[statement.id]
    named = (value for slot, value in zip(row.slots, statement.slots, strict=True) if slot.kind.form == NAME)
    return (statement.id, *named)


#: Strictest first: the same; the same names with other numbers; the same row.
_STATEMENT_LIKENESS: tuple[Callable[[Statement], object], ...] = (
    lambda one: one,
    _names,
    lambda one: one.id,
)
_BLOCK_LIKENESS: tuple[Callable[[Block], object], ...] = (
    lambda one: one,
    lambda one: (one.event, one.conditions),
    lambda one: (one.event, frozenset(map(_names, one.conditions))),
    lambda one: (_names(one.event), frozenset(map(_names, one.conditions))),
    lambda one: (one.event.id, frozenset(part.id for part in one.conditions)),
    lambda one: (one.event.id, one.actions),
)
