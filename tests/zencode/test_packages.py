"""Packages: statements of others - read like the catalogue's own, pinned, and refused where they are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from zencode import commands
from zencode.additions import action, enroll
from zencode.binding import BindingTreeError, PackageMissing, binding_hash, decode, encode, pins, pins_of
from zencode.completion import complete
from zencode.explanation import page_text
from zencode.hover import hover
from zencode.kinds import CURRENCY, NUMBER, PRICE, TEXT
from zencode.languages import LANGUAGES, Phase
from zencode.packages import FIRST_ID, Package, PackageError, belongs, enrolled, package_of, statement_id
from zencode.presets import preset
from zencode.reader import read
from zencode.sentences import BY_ID, JOIN, ORDER, PERIOD_CLOSES, SENTENCES, Slot
from zencode.versions import needs

WORDS = {
    "en": "pay a bonus of {price} from {fund}",
    "it": "paga un premio di {price} da {fund}",
    "es": "paga una prima de {price} de {fund}",
    "de": "zahle einen Bonus von {price} aus {fund}",
}
SLOTS = (Slot("price", PRICE), Slot("fund", TEXT))
COUNTED = (Slot("price", NUMBER), Slot("fund", TEXT))


def bonus(version: int = 1, name: str = "solar-club", number: int = 1, **changes: Any) -> Package:
    """A package with one statement."""
    fields = {"words": WORDS, "meaning": "A bonus.", "under": (PERIOD_CLOSES,), "slots": SLOTS}
    example = changes.pop("example", (10_000, "fund"))
    return Package(name, version, (action(name, version, number, "bonus", example=example, **(fields | changes)),))


VILLAGE = preset("mid_market_village")
TEXT_WITH = VILLAGE.replace(
    "Then share production at the mid-market rate",
    "Then share production at the mid-market rate\nAnd pay a bonus of 0.01 EUR/kWh from 'sunshine fund'",
)


@pytest.fixture(autouse=True)
def nothing_enrolled() -> Iterator[None]:
    enroll([])
    yield
    enroll([])
    assert len(BY_ID) == len(SENTENCES) and enrolled() == ()


def test_a_statement_of_a_package_is_read_in_every_language_with_one_hash() -> None:
    enroll([bonus()])
    binding = read(TEXT_WITH)
    assert pins(binding) == (("solar-club", 1),)
    for code in LANGUAGES:
        text = commands.translate(TEXT_WITH, code)
        assert commands.hash(text) == binding_hash(binding).hex()
        assert commands.fmt(text) == text
    assert decode(encode(binding)) == binding


def test_without_the_package_the_sentence_is_unknown_and_the_tree_is_refused() -> None:
    enroll([bonus()])
    tree = encode(read(TEXT_WITH))
    enroll([])
    assert "no such sentence" in str(commands.check(TEXT_WITH)[0])
    with pytest.raises(PackageMissing) as refused:
        decode(tree)
    assert str(refused.value) == (
        "the binding has statements of solar-club version 1, which this node lacks; it has: none\n"
        "    install what is missing, in this version, and start the node again"
    )
    assert refused.value.missing == (("solar-club", 1),)
    # Whoever lacks it still knows what it needs.
    assert pins_of(tree) == (("solar-club", 1),)


def test_another_version_is_another_hash_and_both_live_side_by_side() -> None:
    enroll([bonus(1)])
    first = read(TEXT_WITH)
    tree = encode(first)
    enroll([bonus(1), bonus(2)])
    second = read(TEXT_WITH)
    assert pins(second) == (("solar-club", 2),) and binding_hash(second) != binding_hash(first)
    # A text is read by the newest version, a tree by its own.
    assert decode(tree) == first
    enroll([bonus(2)])
    with pytest.raises(PackageMissing, match="this node lacks; it has: solar-club version 2"):
        decode(tree)


def test_what_the_catalogue_has_is_encoded_as_ever() -> None:
    before = encode(read(VILLAGE))
    enroll([bonus()])
    assert encode(read(VILLAGE)) == before and pins_of(before) == ()


@pytest.mark.parametrize("code", LANGUAGES)
def test_pages_and_editors_know_it_in_every_language(code: str) -> None:
    """Its meaning is told as the package says it."""
    enroll([bonus()])
    text, before = commands.translate(TEXT_WITH, code), commands.translate(VILLAGE, code)
    [said] = [line for line in text.split("\n") if "sunshine fund" in line]
    page = page_text(commands.explain(text))
    assert " - A bonus.\n" in page and "'sunshine fund'" in page
    [change] = commands.diff(before, text).changes
    assert (change.kind, change.name, change.before, change.after in said) == ("added", "bonus", "", True)
    number = text.split("\n").index(said)
    help = hover(text, number + 1, len(said))
    assert help is not None and (help.name, help.meaning) == ("bonus", "A bonus.")
    begun = "\n".join([*text.split("\n")[:number], said.partition(" ")[0] + " "])
    assert "A bonus." in [one.meaning for one in complete(begun, number + 1, len(begun.split("\n")[-1]) + 1)]
    enroll([])
    assert "A bonus." not in [one.meaning for one in complete(begun, number + 1, len(begun.split("\n")[-1]) + 1)]


def test_it_needs_no_other_catalogue() -> None:
    enroll([bonus()])
    assert needs(read(TEXT_WITH)) == needs(read(VILLAGE)) == 1


def test_a_tree_that_hides_what_it_uses_is_refused() -> None:
    enroll([bonus(), bonus(name="wind-club", words={code: f"wind {said}" for code, said in WORDS.items()})])
    tree = encode(read(TEXT_WITH))
    other = tree.replace(b"\x6asolar-club\x01", b"\x69wind-club\x01")
    assert other != tree
    with pytest.raises(BindingTreeError, match="names other packages than it uses"):
        decode(other)
    with pytest.raises(BindingTreeError, match="a to z, 0 to 9 and -"):
        decode(tree.replace(b"\x6asolar-club\x01", b"\x6aSOLAR-club\x01"))


def test_ids_are_of_their_package_and_version() -> None:
    ids = {statement_id(name, version, 1) for name in ("solar-club", "wind-club") for version in (1, 2)}
    assert len(ids) == 4 and all(FIRST_ID < id < 1 << 53 for id in ids)
    assert belongs(statement_id("solar-club", 1, 7), ("solar-club", 1))
    assert not belongs(statement_id("solar-club", 1, 7), ("solar-club", 2))
    # For ever: trees in ledgers have it.
    assert statement_id("solar-club", 1, 1) == 420_951_161_473_793
    assert package_of(statement_id("solar-club", 1, 1)) is None


def test_a_mechanism_clears_orders_like_one_of_the_catalogue() -> None:
    row = bonus(under=(ORDER,), words={code: f"do it otherwise {code}" for code in WORDS}, slots=(), example=())
    enroll([msgspec.structs.replace(row, mechanisms={row.rows[0].id: ("otherwise", 1)})])
    market = preset("neighbour_market")
    text = market.replace("match orders in a double auction at one price", "do it otherwise en")
    assert [str(one) for one in commands.check(text) if one.level == "error"] == []
    twice = market.replace("one price\n", "one price\nAnd do it otherwise en\n")
    assert "double auction and bonus for one event" in str(commands.check(twice)[0])


def test_a_statement_of_a_package_holds_always() -> None:
    enroll([bonus()])
    text = VILLAGE.replace(
        "When a meter is silent",
        "When a settlement period closes\nIf the time is in band 'noon'\n"
        "Then pay a bonus of 0.01 EUR/kWh from 'sunshine fund'\nEndIf\n\nWhen a meter is silent",
    ).replace(
        "And there is a role 'admin'", "And there is a role 'admin'\nAnd the band 'noon' runs from 11:00 to 13:00"
    )
    assert any("is of a package and cannot stand under a condition" in one.message for one in commands.check(text))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: [bonus(name="Solar Club")], "a name has 1 to 32 of a to z, 0 to 9 and -"),
        (lambda: [bonus(version=0)], "version 0, expected 1 to 65535"),
        (lambda: [bonus(number=256)], "row 256, expected 1 to 255"),
        (lambda: [bonus(), bonus()], "solar-club version 1 is there twice: uninstall one of them"),
        (lambda: [Package("solar-club", 1, ())], "it has no statements"),
        (lambda: [msgspec.structs.replace(bonus(), name="moon-club")], "is not of this package"),
        (lambda: [msgspec.structs.replace(bonus(), rows=bonus().rows * 2)], "two statements have one number"),
        (lambda: [bonus(words={"en": WORDS["en"]})], "has no words in Italian"),
        (lambda: [bonus(under=())], "an action stands under events of the catalogue"),
        (lambda: [bonus(under=(JOIN, 1))], "an action stands under events of the catalogue"),
        (lambda: [bonus(slots=(SLOTS[0], Slot("fund", CURRENCY)))], "«fund» is of a kind that values cannot have here"),
        (lambda: [bonus(example=(10_000,))], "has 2 values and 1 examples"),
        (lambda: [bonus(example=(10_001, "fund"))], "the example of «price» is wrong: a price is a multiple of 1000"),
        (lambda: [bonus(meaning="")], "says nothing of what it means"),
        (lambda: [bonus(words=WORDS | {"en": "pay {price}"})], "in English: .* does not name every slot once"),
        (
            lambda: [bonus(words=WORDS | {"en": "charge {price} to {fund}"}, slots=COUNTED, example=(1, "fund"))],
            "a number could begin two sorts of value",
        ),
        (lambda: [msgspec.structs.replace(bonus(), mechanisms={7: ("x", 1)})], "a mechanism for statement 7"),
        (
            lambda: [msgspec.structs.replace(bonus(), rows=(_given(bonus()),))],
            "stands in GIVEN; packages add actions",
        ),
        (
            lambda: [bonus(), bonus(name="wind-club")],
            "package solar-club version 1 and package wind-club version 1, in English: .* read alike",
        ),
    ],
)
def test_a_package_that_is_wrong_is_told_what(wrong: Any, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        enroll(wrong())
    assert enrolled() == ()


def test_what_was_enrolled_stays_when_something_wrong_comes() -> None:
    enroll([bonus()])
    with pytest.raises(PackageError):
        enroll([bonus(), bonus()])
    assert enrolled() == (("solar-club", 1),) and read(TEXT_WITH)


def _given(package: Package) -> Any:
    return msgspec.structs.replace(package.rows[0], phase=Phase.GIVEN)
