"""Wish commands: agents, partners and commitments as people type them, at a node that runs alone."""

from __future__ import annotations

import re
from pathlib import Path

from meshnode.market.lifecycle import ATTRIBUTES
from tests.cli.shell import alone, complaint

RECORD = r"[0-9a-f]{64}"
PAIR = ("--asset", "SUN", "--pay-with", "EURO")
SAYING = [word for name in ATTRIBUTES for word in ("--say", f"{name}=as agreed")]


def test_what_is_said_once_is_heeded(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    with alone(anna) as say:
        say("asset", "issue", "SUN", "--cap", 1000)
        say("asset", "issue", "EURO", "--kind", "money", "--cap", 10**9, "--cashier", "anna")
        say("cash", "in", "anna", "--asset", "EURO", "--amount", 1000, "--reference", "bank 1")

        # An agent.
        assert say("agent", "show").out == "no agents\n"
        targets = ("--buy", 20, "--sell", 30, "--low", 1, "--target", 5, "--high", 9)
        told = say("agent", "set", "SUN", "--pay-with", "EURO", *targets).out
        assert "with 1 SUN or fewer they are bought, at 20 EURO at most" in told
        row = say("agent", "show").out.splitlines()[1]
        assert re.search(rf"SUN +20 EURO +30 EURO +1 +5 +9 +{RECORD}", row)
        assert "5 SUN" in say("order", "list").out
        assert "nothing of SUN is ordered" in say("agent", "off", "SUN").out
        assert say("order", "list").out == "no orders\n"
        assert "no agent for that asset" in say("agent", "off", "SUN", code=1).out
        wrong = ("--buy", 20, "--sell", 30, "--low", 5, "--target", 5, "--high", 9)
        assert "low < target < high" in say("agent", "set", "SUN", "--pay-with", "EURO", *wrong, code=1).out

        # Partners: alone, anna has nobody but herself.
        assert say("partner", "list").out == "nobody goes first\n"
        refused = say("partner", "set", "anna", "--side", "sell", "--price", "0.10 EUR/kWh", code=1).out
        assert "sender and receiver are the same" in refused
        assert "prefers nobody there" in say("partner", "nobody", "--side", "sell", *PAIR, code=1).out
        assert "--side hold" in complaint("partner", "nobody", "--side", "hold", "--dir", anna)
        assert "both or neither" in complaint("partner", "nobody", "--side", "buy", "--asset", "SUN", "--dir", anna)

        # Steps: what is missing is named; prepared, booked, ordered.
        assert "missing: price\n" in say("order", "missing", "--say", "side=buy", code=1).out
        assert "nothing is missing" in say("order", "missing", *SAYING).out
        assert "attributes.price" in complaint("order", "commitment", "prepare", "--say", "side=buy", "--dir", anna)
        step = re.search(RECORD, say("order", "commitment", "prepare", *SAYING).out)
        assert step is not None
        terms = (*PAIR, "--amount", 3, "--price", 20)
        booked = re.search(rf"record ({RECORD})", say("order", "commitment", "book", step[0], "buy", *terms).out)
        assert booked is not None
        assert re.search(rf"booking +{RECORD} .* {booked[1]}", say("order", "commitment", "list").out)
        say("order", "buy", *terms, "--booked", booked[1])
        assert say("order", "commitment", "list").out == "no commitments\n"
        assert "3 SUN" in say("order", "list").out
