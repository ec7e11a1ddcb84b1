"""Explanation and difference: what an assembly reads before it votes, and what a proposal changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.zencode.strategies import bindings
from zencode.binding import Binding
from zencode.commands import diff, explain, translate
from zencode.difference import Change, compare, difference_text
from zencode.document import Document, Line
from zencode.explanation import explain as explain_document
from zencode.explanation import page_text
from zencode.languages import LANGUAGES, Phase
from zencode.meanings import meaning
from zencode.presets import NAMES, preset
from zencode.reader import read, read_document
from zencode.sentences import BY_ID
from zencode.wording import SUBJECTS, WORDINGS
from zencode.writer import WriteError, write

VILLAGE = preset("neighbour_market")


def _told(old: str, new: str, language: str | None = None) -> str:
    return difference_text(diff(old, new, language))


def test_the_assembly_reads_who_can_join_and_what_that_means() -> None:
    page = explain(VILLAGE)
    (joining,) = [part for part in page.parts if part.subject == "joining"]
    assert joining.heading == "Who can join, and who leaves"
    first = joining.passages[0]
    assert first.event is not None and first.event.text == "somebody asks to join as 'prosumer'"
    assert [one.text for one in first.conditions] == ["the member shows the credential 'invitation'"]
    (accept,) = first.sentences
    assert accept.meaning == "The person who asks becomes a member with the role asked for."
    assert VILLAGE.split("\n")[accept.line - 1] == "Then accept the member"


def test_fees_and_views_are_under_their_own_questions_wherever_they_stand() -> None:
    said = {
        part.subject: [one.name for passage in part.passages for one in passage.sentences]
        for part in explain(VILLAGE).parts
    }
    assert "fee per kWh" in said["money"] and "mid-market rate" in said["energy"]
    assert said["views"] == ["let see", "let see"]
    assert said["faults"] == ["estimate", "warn"]
    assert said["change"] == ["binding version", "changes"]


def test_what_a_check_warns_of_becomes_a_question() -> None:
    text = VILLAGE.replace("above 0.29 EUR/kWh", "above 0.05 EUR/kWh").replace("below 0.08", "below 0.02")
    page = explain(text)
    (question,) = [one for one in page.questions if one.name == "cap-below-feed-in"]
    assert text.split("\n")[question.line - 1].endswith(question.text)
    assert page_text(page).endswith(
        "## Questions to ask before the vote\n\n"
        "- «refuse prices above 0.05 EUR/kWh»: the highest price is below the feed-in price: every seller would rather"
        " feed into the grid: is that meant?\n"
    )


@pytest.mark.parametrize("code", sorted(LANGUAGES))
@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_of_every_preset_is_on_its_page_once(name: str, code: str) -> None:
    document = read_document(preset(name))
    page = explain_document(document, code)
    said = sorted(one.line for part in page.parts for passage in part.passages for one in passage.sentences)
    written = [
        line.number
        for line in document.lines
        if line.statement is not None and line.phase in (Phase.RULE, Phase.GIVEN, Phase.THEN)
    ]
    assert said == written[1:], "all but the language of the text"
    text = page_text(page)
    assert text.startswith(f"# {document.binding.title}\n")
    assert all(part.heading in text for part in page.parts)
    assert all(text.count(f" - {meaning(row, code)}\n") <= 1 for row in BY_ID.values())


@pytest.mark.parametrize("code", sorted(LANGUAGES))
def test_pages_have_words_in_every_language(code: str) -> None:
    assert len(WORDINGS[code].subjects) == len(SUBJECTS)


@settings(max_examples=40)
@given(bindings())
def test_every_binding_has_a_page(binding: Binding) -> None:
    document = Document(binding, "en", (Line(Phase.SCENARIO, None),))
    page = explain_document(document, "it")
    said = sum(len(passage.sentences) for part in page.parts for passage in part.passages)
    actions = sum(len(block.actions) for block in binding.blocks)
    assert said == len(binding.rules) + len(binding.givens) + actions
    assert page_text(page)


def test_an_unknown_language_is_told() -> None:
    with pytest.raises(WriteError, match="no language «tlh»"):
        explain(VILLAGE, "tlh")
    with pytest.raises(WriteError, match="no language «tlh»"):
        diff(VILLAGE, VILLAGE, "tlh")


def test_a_new_price_becomes_another_sentence() -> None:
    assert _told(VILLAGE, VILLAGE.replace("0.30 EUR", "0.35 EUR")) == (
        "«grid energy costs 0.30 EUR/kWh» becomes «grid energy costs 0.35 EUR/kWh»\n"
    )


def test_two_languages_are_compared_by_what_they_say() -> None:
    new = preset("neighbour_market", "it").replace("0,30 EUR", "0,35 EUR")
    assert _told(VILLAGE, new) == (
        "«l'energia di rete costa 0,30 EUR/kWh» diventa «l'energia di rete costa 0,35 EUR/kWh»\n"
    )
    assert _told(VILLAGE, translate(VILLAGE, "it"), "en") == "The two bindings say the same.\n"


def test_order_of_facts_and_comments_are_no_difference() -> None:
    lines = VILLAGE.split("\n")
    at = lines.index("And grid energy costs 0.30 EUR/kWh")
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    assert diff(VILLAGE, "\n".join(["# of today", *lines])).changes == ()


def test_actions_come_and_go_and_change_under_their_event() -> None:
    new = VILLAGE.replace("And refuse orders larger than 20 kWh\n", "And stop buying at a debt of 40 EUR\n")
    new = new.replace("80 % to 'community fund' and 20 %", "70 % to 'community fund' and 30 %")
    assert _told(VILLAGE, new) == (
        "When a member places an order\n"
        "    Gone: «refuse orders larger than 20 kWh»\n"
        "    New: «stop buying at a debt of 40 EUR»\n"
        "\n"
        "When a settlement period closes\n"
        "    «split the 'network fee' 80 % to 'community fund' and 20 % to 'node operators'» becomes"
        " «split the 'network fee' 70 % to 'community fund' and 30 % to 'node operators'»\n"
    )


def test_another_role_in_one_of_several_like_sentences_is_that_sentence_alone() -> None:
    new = VILLAGE.replace("let 'prosumer' see", "let 'admin' see")
    assert _told(VILLAGE, new) == (
        "When a bill is due\n    «let 'prosumer' see 'all trades'» becomes «let 'admin' see 'all trades'»\n"
    )


def test_a_condition_that_goes_leaves_its_block() -> None:
    new = VILLAGE.replace("If the member shows the credential 'invitation'\n", "").replace("EndIf\n", "")
    assert _told(VILLAGE, new) == (
        "When somebody asks to join as 'prosumer'\n    Gone: «the member shows the credential 'invitation'»\n"
    )


def test_an_event_that_waits_longer_keeps_its_actions() -> None:
    new = VILLAGE.replace("silent for 30 minutes", "silent for 2 hours")
    assert _told(VILLAGE, new) == (
        "«When a meter is silent for 30 minutes» becomes «When a meter is silent for 2 hours»\n"
    )


def test_a_moved_event_is_moved_and_nothing_else() -> None:
    head, bill = VILLAGE.split("When a bill is due\n")
    due, leave = bill.split("\nWhen a member leaves\n")
    new = f"{head}When a member leaves\n{leave}\nWhen a bill is due\n{due}"
    (change,) = diff(VILLAGE, new).changes
    leaves, silent = "When a member leaves", "When a meter is silent for 30 minutes"
    assert change == Change("moved", "a member leaves", leaves, leaves, (), silent)
    assert _told(VILLAGE, new) == f"«{leaves}» now stands after «{silent}»\n"


def test_a_moved_action_is_told_under_its_event() -> None:
    low, high = "And refuse prices below 0.08 EUR/kWh", "And refuse prices above 0.29 EUR/kWh"
    new = VILLAGE.replace(low, "X").replace(high, low).replace("X", high)
    assert _told(VILLAGE, new) == (
        "When a member places an order\n"
        "    «refuse prices above 0.29 EUR/kWh» now stands after «match orders in a double auction at one price»\n"
    )


def test_a_new_event_comes_with_its_actions() -> None:
    new = VILLAGE + "\nWhen a car charges at 'bay 1'\nThen limit charging to 11 kW\n"
    assert _told(VILLAGE, new) == (
        "New: «When a car charges at 'bay 1'»\n\nWhen a car charges at 'bay 1'\n    New: «limit charging to 11 kW»\n"
    )


def test_another_currency_changes_every_price() -> None:
    changes = diff(VILLAGE, VILLAGE.replace("EUR", "CHF")).changes
    assert ("grid energy costs 0.30 EUR/kWh", "grid energy costs 0.30 CHF/kWh") in [
        (change.before, change.after) for change in changes
    ]
    assert all("EUR" in change.before and "CHF" in change.after for change in changes)


@settings(max_examples=40)
@given(bindings(), bindings())
def test_a_difference_leads_from_the_old_sentences_to_the_new(old: Binding, new: Binding) -> None:
    """Taking away what goes and adding what comes gives the new text's sentences; equal bindings have none."""
    found = compare(old, new)
    assert (found.changes == ()) == (old == new)
    assert compare(old, old).changes == ()

    def said(binding: Binding) -> list[str]:
        lines = [line for line in write(binding).split("\n") if line not in ("EndIf", "")]
        return sorted(line.split(" ", 1)[1] for line in lines if not line.startswith(("Scenario", "Rule language")))

    def bare(sentence: str) -> str:
        return sentence.removeprefix("When ")

    sentences = said(old)
    for change in found.changes:
        if change.kind in ("removed", "changed"):
            sentences.remove(bare(change.before))
        if change.kind in ("added", "changed"):
            sentences.append(bare(change.after))
    # Conditions of a block that comes or goes stand in `under` alone.
    whole = [c for c in found.changes if c.kind in ("added", "removed") and (c.before or c.after).startswith("When ")]
    if not whole:
        assert sorted(sentences) == said(read(write(new)))
