"""Additions: packages of statements, made and checked.

    PACKAGE = Package("solar-club", 1, rows=(
        action("solar-club", 1, 1, "sunshine bonus", under=(PERIOD_CLOSES,),
               words={"en": "pay {price} of sunshine bonus", "it": ..., "es": ..., "de": ...},
               slots=(Slot("price", PRICE),), example=(10_000,), meaning="..."),
    ), effect=...)

A package adds actions (Then). Facts, events and conditions are the catalogue's: only the state machine knows what
happens, and when. Each row does something of its own; what a row needs to know stands in its values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from zencode import grammar
from zencode.grammar import CatalogueError
from zencode.kinds import CURRENCY, KINDS, LANGUAGE, fault
from zencode.languages import LANGUAGES, Phase
from zencode.packages import Package, PackageError, Pin, belongs, check_pin, known, newest, replace, statement_id
from zencode.sentences import BY_ID, SENTENCES, Sentence, Slot


def action(
    name: str,
    version: int,
    number: int,
    title: str,
    *,
    words: Mapping[str, str | tuple[str, ...]],
    meaning: str,
    under: tuple[int, ...],
    slots: tuple[Slot, ...] = (),
    example: tuple[Any, ...] = (),
) -> Sentence:
    """One row of a package; its fields are those of `Sentence`.

    Args:
        name, version: of the package.
        number: of the row in it, from 1; never used again for another one.
        title: the row's name.
    Raises:
        PackageError: a name, version or number that a package cannot have.
    """
    spoken = {code: (said,) if isinstance(said, str) else said for code, said in words.items()}
    id = statement_id(name, version, number)
    return Sentence(id, title, Phase.THEN, spoken, meaning, slots, example, under=under)


def enroll(packages: Iterable[Package]) -> None:
    """Let these packages add to the catalogue, and no others. Call it once, before anything is read.

    Raises:
        PackageError: a package that cannot be used, or two that contradict one another; nothing has changed then.
    """
    found = list(packages)
    if found == known():
        return
    for package in found:
        _check(package)
    for one, other in _pairs(found):
        if one.pin == other.pin:
            raise PackageError(f"package {one.name} version {one.version} is there twice: uninstall one of them")
        if one.rows and belongs(one.rows[0].id, other.pin):
            raise PackageError(f"packages {one.name} and {other.name} have the same ids: rename one of them")
    for language in LANGUAGES.values():
        try:
            grammar.build((*SENTENCES, *newest(found)), language)
        except CatalogueError as error:
            raise PackageError(f"{_names(found)}, in {language.name}: {error}") from error
    replace(found)
    grammar.forget()


def _check(package: Package) -> None:
    check_pin(package.pin)
    place = f"package {package.name} version {package.version}"
    if not package.rows:
        raise PackageError(f"{place}: it has no statements")
    if len({one.id for one in package.rows}) != len(package.rows):
        raise PackageError(f"{place}: two statements have one number")
    for one in package.rows:
        _check_row(f"{place}, «{one.name}»", package.pin, one)
    for id in package.mechanisms:
        if not any(one.id == id for one in package.rows):
            raise PackageError(f"{place}: a mechanism for statement {id}, which it does not have")


def _check_row(place: str, pin: Pin, one: Sentence) -> None:
    if not belongs(one.id, pin):
        raise PackageError(f"{place}: its id {one.id} is not of this package: make it with statement_id")
    if one.phase != Phase.THEN:
        raise PackageError(f"{place}: stands in {one.phase.name}; packages add actions")
    missing = [language.name for code, language in LANGUAGES.items() if not one.words.get(code)]
    if missing:
        raise PackageError(f"{place}: has no words in {', '.join(missing)}")
    if not one.under or any(id not in BY_ID or BY_ID[id].phase != Phase.WHEN for id in one.under):
        raise PackageError(f"{place}: an action stands under events of the catalogue")
    for slot in one.slots:
        if slot.kind not in KINDS or slot.kind in (LANGUAGE, CURRENCY):
            raise PackageError(f"{place}: «{slot.name}» is of a kind that values cannot have here")
    if len(one.example) != len(one.slots):
        raise PackageError(f"{place}: has {len(one.slots)} values and {len(one.example)} examples")
    for slot, value in zip(one.slots, one.example, strict=True):
        wrong = fault(slot.kind, value) or (None if slot.takes(value) else "outside its bounds")
        if wrong:
            raise PackageError(f"{place}: the example of «{slot.name}» is wrong: {wrong}")
    if not one.meaning:
        raise PackageError(f"{place}: says nothing of what it means")


def _pairs(packages: list[Package]) -> list[tuple[Package, Package]]:
    return [(one, other) for place, one in enumerate(packages) for other in packages[:place]]


def _names(packages: list[Package]) -> str:
    return " and ".join(f"package {package.name} version {package.version}" for package in packages)
