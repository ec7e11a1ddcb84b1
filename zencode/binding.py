"""Binding: the typed tree that a text compiles to, its encoding and its hash.

The tree holds statement ids and values, no words: the same binding read from
English and from Italian is the same tree. Rules and givens have no order of
their own and are kept sorted by (id, slots); blocks are in file order, because
events are handled in that order and the first refusal stops.

No text is read or written here (`reader`, `writer`), and no meaning is judged
(`lint`): a tree can be well formed and still a bad idea.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import pairwise
from typing import Any

from msgspec import Struct

from zencode import cbor
from zencode.characters import is_label
from zencode.kinds import MAX_NAME, PRICED, Value, fault
from zencode.languages import Phase
from zencode.packages import FIRST_ID, PackageError, Pin, check_pin, enrolled, pin_of
from zencode.sentences import BY_ID, CURRENCY_IS, LANGUAGE_RULE, VERSION, Sentence

#: First item of the encoding; another form of the tree gets another number.
TREE_FORMAT = 1
#: The form of a tree that uses packages: it names them, and so they are part of its hash.
TREE_FORMAT_PINNED = 2
#: An assembly can read a contract of this length aloud in half an hour.
MAX_STATEMENTS = 300
#: The title is read out before the vote and fits a line with its keyword and id.
MAX_TITLE = 100


class BindingTreeError(ValueError):
    """A tree, or the encoding of one, that no text compiles to: what is wrong and where."""


class PackageMissing(BindingTreeError):
    """A binding that needs a package which this program does not have.

    Attributes:
        missing: names and versions.
    """

    def __init__(self, missing: list[Pin], known: tuple[Pin, ...]) -> None:
        def said(pins: Iterable[Pin]) -> str:
            return ", ".join(f"{name} version {version}" for name, version in pins)

        super().__init__(
            f"the binding has statements of {said(missing)}, which this node lacks; it has: {said(known) or 'none'}\n"
            "    install what is missing, in this version, and start the node again"
        )
        self.missing = tuple(missing)


class Statement(Struct, frozen=True):
    """A sentence with its values: `id` is the row of the catalogue, `slots` in the row's order.

    Slot values are int, str or tuples of them; units are those of `kinds`.
    """

    id: int
    slots: tuple[Value, ...] = ()


class Block(Struct, frozen=True):
    """What happens at an event: all `actions` in order, if every condition holds."""

    event: Statement
    conditions: tuple[Statement, ...]
    actions: tuple[Statement, ...]


class Binding(Struct, frozen=True):
    """A whole contract. `title` and `scenario` are texts of the community, the same in every language."""

    scenario: str
    title: str
    rules: tuple[Statement, ...]
    givens: tuple[Statement, ...]
    blocks: tuple[Block, ...]

    def given(self, id: int) -> Statement | None:
        """The given (or rule) of this id that can stand only once, or None."""
        return next((s for s in (*self.rules, *self.givens) if s.id == id), None)


def encode(binding: Binding) -> bytes:
    """The one encoding of a binding: deterministic CBOR of arrays, whole numbers and texts.

    [format, scenario, title, [rule], [given], [[event, [condition], [action]]]],
    each statement [id, [slot]]. Nothing in it depends on the spoken language. Where
    statements of packages are used, a seventh item names them: [[name, version]].
    """
    used = pins(binding)
    blocks = [(_plain((block.event,))[0], _plain(block.conditions), _plain(block.actions)) for block in binding.blocks]
    return cbor.dumps(
        (
            TREE_FORMAT_PINNED if used else TREE_FORMAT,
            binding.scenario,
            binding.title,
            _plain(binding.rules),
            _plain(binding.givens),
            tuple(blocks),
            *((used,) if used else ()),
        )
    )


def pins(binding: Binding) -> tuple[Pin, ...]:
    """The packages that a binding uses, by name and version, sorted."""
    found = {pin_of(statement.id) for statement in statements(binding) if statement.id >= FIRST_ID}
    return tuple(sorted(pin for pin in found if pin is not None))


def pins_of(data: bytes) -> tuple[Pin, ...]:
    """The packages that an encoding names, whether they are enrolled here or not.

    Raises:
        BindingTreeError: not that encoding.
    """
    return _parts(data)[1]


def binding_hash(binding: Binding) -> bytes:
    """The binding's identity: SHA-256 of its encoding, 32 bytes."""
    return sha256(encode(binding)).digest()


def decode(data: bytes) -> Binding:
    """Read an encoding back, strictly: `encode` of the result equals `data`.

    Raises:
        PackageMissing: it uses a package that is not enrolled here.
        BindingTreeError: not that encoding, a statement that this catalogue does not
            have, or a value out of its bounds.
    """
    parts, named = _parts(data)
    known = enrolled()
    missing = [pin for pin in named if pin not in known]
    if missing:
        raise PackageMissing(missing, known)
    binding = _binding(parts)
    check_tree(binding)
    if pins(binding) != named:
        raise BindingTreeError("the binding names other packages than it uses")
    return binding


def sorted_statements(statements: list[Statement]) -> tuple[Statement, ...]:
    """Rules or givens in the order of the tree."""
    return tuple(sorted(statements, key=_order))


def same_fact(statement: Statement) -> tuple[Value, ...]:
    """What two rules or givens of one binding may not have in common: the id and its `once` slots."""
    row = BY_ID[statement.id]
    return (statement.id, *(statement.slots[row.index(slot)] for slot in row.once))


def check_tree(binding: Binding) -> None:
    """Refuse a tree that no text compiles to.

    Raises:
        BindingTreeError: naming the first fault.
    """
    if not is_label(binding.scenario, MAX_NAME) or not is_label(binding.title, MAX_TITLE):
        raise BindingTreeError("the scenario's id or title is empty, too long or has untidy characters")
    _check_facts(binding.rules, Phase.RULE)
    _check_facts(binding.givens, Phase.GIVEN)
    count = len(binding.rules) + len(binding.givens)
    for block in binding.blocks:
        if not block.actions:
            raise BindingTreeError(f"block of statement {block.event.id} has no action")
        _check_statement(block.event, Phase.WHEN)
        for condition in block.conditions:
            _check_statement(condition, Phase.IF)
        for action in block.actions:
            _check_statement(action, Phase.THEN)
        count += 1 + len(block.conditions) + len(block.actions)
    if count > MAX_STATEMENTS:
        raise BindingTreeError(f"{count} statements, a binding has at most {MAX_STATEMENTS}")
    if binding.given(VERSION) is None:
        raise BindingTreeError("the binding does not say its version")
    if binding.given(CURRENCY_IS) is None and any(is_priced(BY_ID[s.id]) for s in statements(binding)):
        raise BindingTreeError("the binding has prices but no currency")


def statements(binding: Binding) -> list[Statement]:
    """Every statement of the tree, in the order of the tree."""
    found = [*binding.rules, *binding.givens]
    for block in binding.blocks:
        found += [block.event, *block.conditions, *block.actions]
    return found


def is_priced(row: Sentence) -> bool:
    """Whether a sentence names an amount or price, so that the binding needs a currency."""
    return any(slot.kind.name in PRICED for slot in row.slots)


def _plain(found: tuple[Statement, ...]) -> tuple[tuple[Any, ...], ...]:
    return tuple((statement.id, statement.slots) for statement in found)


def _order(statement: Statement) -> tuple[Any, ...]:
    return (statement.id, statement.slots)


def _parts(data: bytes) -> tuple[tuple[Any, ...], tuple[Pin, ...]]:
    """What follows the format, and the packages that it names."""
    try:
        tree = cbor.loads(data)
    except cbor.EncodingError as error:
        raise BindingTreeError(str(error)) from error
    if type(tree) is tuple and tree and tree[0] == TREE_FORMAT_PINNED:
        *parts, named = _items(tree, 7, "binding")[1:]
        return tuple(parts), _pins(named)
    form, *parts = _items(tree, 6, "binding")
    if form != TREE_FORMAT:
        raise BindingTreeError(f"tree format {form!r}, expected {TREE_FORMAT} or {TREE_FORMAT_PINNED}")
    return tuple(parts), ()


def _pins(tree: Any) -> tuple[Pin, ...]:
    found: list[Pin] = []
    for item in _items(tree, None, "packages"):
        name, version = _items(item, 2, "package")
        if type(name) is not str or type(version) is not int:
            raise BindingTreeError("a package is named by its name and version")
        try:
            check_pin((name, version))
        except PackageError as error:
            raise BindingTreeError(str(error)) from error
        found.append((name, version))
    if not found or found != sorted(set(found)):
        raise BindingTreeError("the packages of a binding are sorted, and each is there once")
    return tuple(found)


def _binding(parts: tuple[Any, ...]) -> Binding:
    scenario, title, rules, givens, blocks = parts
    if type(scenario) is not str or type(title) is not str:
        raise BindingTreeError("the scenario's id and title are texts")
    return Binding(scenario, title, _statements(rules), _statements(givens), _blocks(blocks))


def _blocks(tree: Any) -> tuple[Block, ...]:
    blocks = []
    for item in _items(tree, None, "blocks"):
        event, conditions, actions = _items(item, 3, "block")
        blocks.append(Block(_statement(event), _statements(conditions), _statements(actions)))
    return tuple(blocks)


def _statements(tree: Any) -> tuple[Statement, ...]:
    return tuple(_statement(item) for item in _items(tree, None, "statements"))


def _statement(tree: Any) -> Statement:
    id, slots = _items(tree, 2, "statement")
    if type(id) is not int:
        raise BindingTreeError("a statement begins with its number")
    return Statement(id, _items(slots, None, f"slots of statement {id}"))


def _items(tree: Any, count: int | None, noun: str) -> tuple[Any, ...]:
    if type(tree) is not tuple or (count is not None and len(tree) != count):
        raise BindingTreeError(f"{noun}: expected an array" + (f" of {count}" if count is not None else ""))
    return tree


def _check_facts(found: tuple[Statement, ...], phase: Phase) -> None:
    for statement in found:
        _check_statement(statement, phase)
    if any(_order(left) > _order(right) for left, right in pairwise(found)):
        raise BindingTreeError(f"the statements of phase {phase.name} are not sorted")
    facts = [same_fact(statement) for statement in found]
    if len(set(facts)) != len(facts):
        raise BindingTreeError(f"a statement of phase {phase.name} that can stand once stands twice")


def _check_statement(statement: Statement, phase: Phase) -> None:
    row = BY_ID.get(statement.id)
    if row is None or row.id == LANGUAGE_RULE:
        raise BindingTreeError(f"statement {statement.id} is not in this catalogue")
    if row.phase != phase:
        raise BindingTreeError(f"statement {row.id} ({row.name}) stands in {phase.name}")
    if len(statement.slots) != len(row.slots):
        raise BindingTreeError(f"statement {row.id} ({row.name}) has {len(statement.slots)} slots")
    for slot, value in zip(row.slots, statement.slots, strict=True):
        problem = fault(slot.kind, value)
        if problem is None and not slot.takes(value):
            problem = "outside {} to {}".format(*slot.bounds)
        if problem:
            raise BindingTreeError(f"statement {row.id} ({row.name}), {slot.name}: {problem}")
