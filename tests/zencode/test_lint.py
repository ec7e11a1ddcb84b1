"""Lints: each doubtful thing is found, with its reason, on its line - and only then."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import zencode.lints
from tests.zencode.lint_cases import NEW_CASES
from zencode.binding import Statement
from zencode.commands import check
from zencode.lint import ERROR, Lint
from zencode.lints.names import INTRODUCED
from zencode.presets import NAMES, preset
from zencode.reader import read
from zencode.terms import TermsError, terms

VILLAGE, MARKET = preset("mid_market_village"), preset("neighbour_market")
SPAIN, YARD = preset("spanish_self_consumption"), preset("charging_yard")

#: (text, what to replace, with what, level, name, part of the reason)
CASES = [
    (
        MARKET,
        "80 % to 'community fund' and 20 %",
        "80 % to 'community fund' and 10 %",
        "error",
        "shares",
        "90 %",
    ),
    (MARKET, "20 % to 'node operators'", "20 % to 'community fund'", "error", "shares", "stands twice"),
    (SPAIN, "share of 25 %", "share of 24.5 %", "error", "shares", "99.5 %"),
    (
        SPAIN,
        "by fixed allocation shares",
        "in proportion to use",
        "warning",
        "shares",
        "nothing is shared by them",
    ),
    (
        VILLAGE,
        "at the mid-market rate",
        "by fixed allocation shares",
        "error",
        "shares",
        "share of every member",
    ),
    (MARKET, "prices below 0.08", "prices below 0.31", "error", "floor-above-cap", "ever trade"),
    (MARKET, "prices above 0.29", "prices above 0.30", "warning", "cap-above-grid", "fee on top"),
    (
        MARKET,
        "And refuse prices below 0.08 EUR/kWh\nAnd refuse prices above 0.29",
        "And refuse prices above 0.07",
        "warning",
        "cap-below-feed-in",
        "feed into the grid",
    ),
    (VILLAGE, "pays 0.08", "pays 0.38", "warning", "feed-in-above-grid", "cost both sides"),
    (
        VILLAGE,
        "And grid feed-in pays 0.08 EUR/kWh\n",
        "",
        "error",
        "mid-market-prices",
        "feed-in price is not given",
    ),
    (
        MARKET,
        "Then match orders in a double auction at one price\n",
        "Then refuse prices above 0.29 EUR/kWh\n",
        "error",
        "no-mechanism",
        "nothing matches them",
    ),
    (
        MARKET,
        "auction at one price\n",
        "auction at one price\nAnd match orders in a continuous order book\n",
        "error",
        "two-mechanisms",
        "double auction and order book",
    ),
    (
        VILLAGE,
        "mid-market rate\n",
        "mid-market rate\nAnd share production in proportion to use\n",
        "error",
        "two-mechanisms",
        "only one can act",
    ),
    (
        MARKET,
        "prices above 0.29 EUR/kWh\n",
        "prices above 0.29 EUR/kWh\nAnd refuse prices above 0.25 EUR/kWh\n",
        "error",
        "said-twice",
        "price cap is said twice",
    ),
    (
        preset("island_order_book"),
        "deposit of 50 EUR\n",
        "deposit of 50 EUR\nAnd hold a deposit of 10 EUR\n",
        "error",
        "said-twice",
        "hold a deposit is said twice",
    ),
    (
        MARKET,
        "on 'traded energy'\n",
        "on 'traded energy'\nAnd charge a fee of 0.02 EUR/kWh on 'traded energy'\n",
        "error",
        "said-twice",
        "fee per kWh is said twice",
    ),
    (
        VILLAGE,
        "Then net all debts before payment\n",
        "Then accept the member\n",
        "error",
        "misplaced",
        "belongs to",
    ),
    (
        YARD,
        "If the time is in band 'evening'",
        "If the member shows the credential 'x'",
        "error",
        "misplaced",
        "means nothing when a car charges",
    ),
    (
        MARKET,
        "And charge a fee of 0.01 EUR/kWh on 'traded energy'\n",
        "",
        "warning",
        "nothing-to-split",
        "network fee",
    ),
    (
        SPAIN,
        "And split the 'membership fee' 100 % to 'community fund'\n",
        "",
        "warning",
        "fee-without-split",
        "membership fee",
    ),
    (VILLAGE, "And there is a role 'admin'\n", "", "warning", "unknown-role", "role 'admin'"),
    (YARD, "in band 'evening'", "in band 'evning'", "error", "unknown-band", "never run"),
    (
        preset("island_order_book"),
        "When the battery 'Bay Battery'",
        "When the battery 'Bay'",
        "error",
        "unknown-battery",
        "never run",
    ),
    (
        VILLAGE,
        "to join as 'prosumer'",
        "to join as 'everyone'",
        "error",
        "audience-as-role",
        "stands for many",
    ),
    (
        VILLAGE,
        "When a member leaves\nThen keep the contract open for 1 month\n",
        "",
        "warning",
        "no-block",
        "leaves",
    ),
    (
        VILLAGE,
        "Then accept the member\nEndIf",
        "Then hold a deposit of 5 EUR\nEndIf",
        "warning",
        "undecided",
        "joins by it",
    ),
    (
        VILLAGE,
        "Then accept the member\n",
        "Then accept the member\nAnd refuse the member\n",
        "error",
        "two-verdicts",
        "decided once",
    ),
    (
        VILLAGE,
        "If the member shows the credential 'invitation'\nThen accept the member\nEndIf\n",
        "Then refuse the member\nIf the member shows the credential 'x'\nThen accept the member\nEndIf\n",
        "error",
        "never-runs",
        "never run",
    ),
    (
        MARKET,
        "And let 'prosumer' see 'all trades'",
        "And hide 'all trades' from 'auditor'",
        "warning",
        "let-and-hide",
        "hiding wins",
    ),
    (VILLAGE, "with 60 % of votes", "with 49 % of votes", "warning", "below-half", "minority"),
    (
        VILLAGE,
        "Rule this binding changes only with 60 % of votes and 7 days notice\n",
        "",
        "warning",
        "changes-unsaid",
        "all members must agree",
    ),
    (VILLAGE, "period is 15 minutes", "period is 7 minutes", "error", "uneven-period", "whole number"),
    (
        VILLAGE,
        "accepted for 2 days",
        "accepted for 1 minute",
        "warning",
        "late-corrections",
        "none could ever count",
    ),
]


@pytest.mark.parametrize(
    ("text", "old", "new", "level", "name", "reason"),
    (*CASES, *NEW_CASES),
    ids=[f"{case[4]}-{number}" for number, case in enumerate((*CASES, *NEW_CASES))],
)
def test_what_a_community_would_regret_is_found(
    text: str, old: str, new: str, level: str, name: str, reason: str
) -> None:
    assert old in text
    changed = text.replace(old, new)
    findings = [f for f in check(changed) if f.message.endswith(f"[{name}]")]
    assert findings and {finding.level for finding in findings} == {level}
    assert reason in findings[0].message
    # The place is the statement's own line; the binding as a whole has none.
    line = findings[0].line
    assert line == 0 or changed.split("\n")[line - 1].strip()
    if level == ERROR:
        with pytest.raises(TermsError, match=reason):
            terms(read(changed))
    else:
        terms(read(changed))


@pytest.mark.parametrize("name", NAMES)
def test_presets_have_nothing_to_regret(name: str) -> None:
    assert check(preset(name)) == []


def test_every_finding_is_tried_above() -> None:
    found = {f"unknown-{what}" for what in INTRODUCED}
    for path in Path(zencode.lints.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        found |= {
            call.args[0].value
            for call in calls
            if isinstance(call.func, ast.Name)
            and call.func.id in ("error", "warning")
            and isinstance(call.args[0], ast.Constant)
        }
    # What needs a package is tried with packages.
    assert found == {case[4] for case in (*CASES, *NEW_CASES)} | {"package-under-condition"}


def test_the_line_told_is_the_line_of_the_statement() -> None:
    text = MARKET.replace("prices above 0.29", "prices above 0.05")
    found = next(f for f in check(text) if "floor-above-cap" in f.message)
    assert text.split("\n")[found.line - 1] == "And refuse prices below 0.08 EUR/kWh"


def test_errors_come_first() -> None:
    levels = [f.level for f in check(VILLAGE.replace("period is 15", "period is 7").replace("60 %", "40 %"))]
    assert levels == ["error", "warning"]


def test_a_finding_says_its_level_and_name() -> None:
    assert str(Lint("error", "shares", "too many", Statement(1))) == "error: too many [shares]"
