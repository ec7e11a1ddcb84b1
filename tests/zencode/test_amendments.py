"""Amendments: any binding becomes any other, change by change, and each change is told once."""

from __future__ import annotations

from hypothesis import given, settings

from tests.zencode.strategies import bindings
from zencode.amendments import Amendment, Amendments
from zencode.binding import Binding, encode
from zencode.presets import preset
from zencode.reader import read_document
from zencode.sentences import BY_USE, CAP, FEE_PER_KWH, FLOOR, GRID_PRICE, MID_MARKET, ROLE_IS


def ids(amendment: Amendment) -> tuple[list[int], list[int]]:
    return [one.id for one in amendment.removed], [one.id for one in amendment.added]


def amended(*changes: tuple[str, str]) -> list[tuple[int, list[int], list[int]]]:
    """What changes in the neighbour market with other words: line, what goes, what comes."""
    text = preset("neighbour_market")
    old = read_document(text)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    new = read_document(text)
    found = Amendments(old.binding, new.binding, new.line_of)
    assert found.after(0) == old.binding and found.after(len(changes)) == new.binding
    return [(one.line, *ids(one)) for one in found.changes]


def line(text: str, name: str = "neighbour_market") -> int:
    return next(number for number, line in enumerate(preset(name).split("\n"), 1) if text in line)


@settings(max_examples=60)
@given(bindings(), bindings())
def test_any_binding_becomes_any_other(old: Binding, new: Binding) -> None:
    amendments = Amendments(old, new)
    last = len(amendments.changes)
    assert encode(amendments.after(last)) == encode(new)
    if last:
        assert encode(amendments.after(0)) == encode(old)
    for count, change in enumerate(amendments.changes):
        before, after = amendments.after(count), amendments.after(count + 1)
        assert change.removed != change.added
        assert set(_statements(after)) <= set(_statements(before)) | set(change.added)


@given(bindings())
def test_nothing_leads_from_a_binding_to_itself(binding: Binding) -> None:
    assert Amendments(binding, binding).changes == ()


def test_another_value_is_one_change_on_its_line() -> None:
    assert amended(("grid energy costs 0.30", "grid energy costs 0.35")) == [
        (line("grid energy"), [GRID_PRICE], [GRID_PRICE])
    ]


def test_changes_stand_in_the_order_of_the_text() -> None:
    found = amended(
        ("refuse prices above 0.29", "refuse prices above 0.25"),
        ("refuse prices below 0.08", "refuse prices below 0.10"),
        ("grid energy costs 0.30", "grid energy costs 0.31"),
    )
    assert [after for _, _, after in found] == [[GRID_PRICE], [FLOOR], [CAP]]
    assert [number for number, _, _ in found] == sorted(number for number, _, _ in found)


def test_what_goes_stood_after_the_sentence_above_it() -> None:
    assert amended(("And there is a role 'auditor'\n", "")) == [(line("role 'admin'"), [ROLE_IS], [])]


def test_one_way_to_share_takes_the_place_of_another() -> None:
    """So that there is no step at which nothing is shared at all."""
    found = amended(
        ("share production at the mid-market rate", "share production in proportion to use"),
        ("charge a fee of 0.01", "charge a fee of 0.02"),
    )
    assert [(before, after) for _, before, after in found] == [([MID_MARKET], [BY_USE]), ([FEE_PER_KWH], [FEE_PER_KWH])]


def test_a_whole_event_goes_at_once() -> None:
    [(_, removed, added)] = amended(("When a member leaves\nThen keep the contract open for 1 month\n", ""))
    assert len(removed) == 2 and added == []


def _statements(binding: Binding) -> list[object]:
    found: list[object] = [*binding.rules, *binding.givens]
    for block in binding.blocks:
        found += [block.event, *block.conditions, *block.actions]
    return found
