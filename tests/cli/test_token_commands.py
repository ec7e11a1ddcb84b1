"""Token commands: what they print for people, at a node that runs alone; the mesh's own story is a scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.shell import alone, complaint, meshnode

RECORD = r"[0-9a-f]{64}"


def test_every_command_says_what_was_done(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    with alone(anna) as say:
        # Assets.
        assert say("asset", "list").out == "no assets\n"
        issued = say("asset", "issue", "SUN", "--cap", 1000, "--amount", 100).out
        assert re.fullmatch(rf"accepted in block \d+: 100 SUN minted\n    record {RECORD}\n", issued)
        named = say("asset", "issue", "EURO", "--kind", "money", "--cap", 10**9, "--cashier", "anna", "--settles").out
        assert re.fullmatch(rf"accepted in block \d+: EURO is as you said\n    record {RECORD}\n", named)
        say("asset", "issue", "LOG", "--kind", "energy", "--cap", 10**6, "--measure", "import", "--unit-wh", 100)
        assert "100 SUN destroyed" not in say("asset", "burn", "SUN", "--amount", 101, code=1).out
        assert "40 SUN destroyed" in say("asset", "burn", "SUN", "--amount", 40).out
        assert rows(say("asset", "list").out) == [
            ["asset", "kind", "there are", "at most", "you have", "of it held", "minted by"],
            ["EURO", "money", "0", str(10**9), "0", "0", "anna"],
            ["LOG", "energy", "0", str(10**6), "0", "0", "meters: 1 for 100 Wh of import"],
            ["SUN", "utility", "60", "1000", "60", "0", "anna"],
        ]
        shown = say("asset", "show", "EURO").out
        assert re.search(r"cashier +anna\n", shown) and "closed periods are paid with it" in shown
        assert "there is no asset MOON" in complaint("asset", "show", "MOON", "--dir", anna, code=1)

        # What an order's documents still lack, one by one.
        every = say("order", "missing", code=1).out.splitlines()
        name = every[0].removeprefix("missing: ")
        assert name and say("order", "missing", "--say", f"{name}=so & so", code=1).out.splitlines() == every[1:]

        # Cash: anna is the cashier, and pays herself.
        assert (
            "500 EURO issued to anna for bank 1"
            in say("cash", "in", "anna", "--asset", "EURO", "--amount", 500, "--reference", "bank 1").out
        )
        again = say("cash", "in", "anna", "--asset", "EURO", "--amount", 5, "--reference", "bank 1", code=1)
        assert "this payment was accounted for before" in again.out
        asked = say("cash", "ask", "--asset", "EURO", "--amount", 200, "--memo", "AT12 3456").out
        wish = re.search(rf"meshnode cash out ({RECORD}) --reference", asked)
        assert wish and "200 EURO held" in asked
        (_, listed) = rows(say("cash", "list").out)
        assert listed[:4] + listed[5:] == ["ask", "anna", "anna", "200 EURO", "AT12 3456", wish[1]]
        assert "destroyed for bank 2" in say("cash", "out", wish[1], "--reference", "bank 2").out
        assert say("cash", "list").out == "nothing is open\n"
        moved = rows(say("transfer", "list", "--asset", "EURO").out)
        assert [[line[1], *line[4:]] for line in moved[1:]] == [
            ["cash out", "200 EURO", "bank 2"],
            ["cash in", "500 EURO", "bank 1"],
        ]

        # Exchanges.
        offered = say(
            *("exchange", "offer", "--give", "SUN", "--give-amount", 20, "--want", "EURO", "--want-amount", 7)
        ).out
        known = re.search(rf"who accepts says: meshnode exchange accept ({RECORD})\n", offered)
        assert known and "20 SUN held for 7 EURO" in offered
        (_, line) = rows(say("exchange", "list").out)
        assert line[:4] + line[5:] == ["anna", "20 SUN", "7 EURO", "everybody", known[1]]
        assert "sender and receiver are the same" in say("exchange", "accept", known[1], code=1).out
        assert "its owner's again" in say("exchange", "withdraw", known[1]).out
        assert say("exchange", "list").out == "no open offers\n"
        assert "12: not an offer's id" in complaint("exchange", "accept", "12", "--dir", anna)

        # Orders of assets.
        pair = ("--asset", "SUN", "--pay-with", "EURO")
        assert (
            "the member does not have that much"
            in say(*("order", "buy", *pair, "--amount", 2, "--price", 900), code=1).out
        )
        bought = say("order", "buy", *pair, "--amount", 2, "--price", 20).out
        bid = re.search(rf"take it out with: meshnode order cancel ({RECORD})\n", bought)
        assert bid and "buy 2 SUN at 20 EURO each" in bought
        say("order", "sell", *pair, "--amount", 3, "--price", 30, "--unbacked", "--for", 2)
        listed = rows(say("order", "list").out)
        assert listed[1][:5] + listed[1][5:6] == ["buy", "2 SUN", "20 EURO", "all", "0", "cancelled"]
        assert listed[2][:5] == ["sell", "3 SUN", "30 EURO", "all", "0"]
        shown = say("book", "SUN", "--pay-with", "EURO").out
        assert re.search(r"buying costs +30 EURO +right away: 30 EURO\n", shown)
        assert re.search(r"selling brings +20 EURO +right away: 20 EURO\n", shown)
        assert "the order wants 1 in all, at 20 each" in say("order", "amend", bid[1], "--amount", 1, "--price", 20).out
        assert "accepted" in say("order", "cancel", bid[1]).out
        assert say("order", "trades").out == "no trades\n"
        assert "there is no such trade" in say("order", "undo", "1-0", code=1).out
        assert "no trade's id" in complaint("order", "undo", "x", "--dir", anna)
        assert "--amount: nothing found" in complaint("order", "buy", *pair, "--price", 1, "--dir", anna)
        assert "--energy: nothing found" in complaint("order", "buy", "--price", "0.1 EUR/kWh", "--dir", anna)
        assert "whole units of the paying" in complaint(
            "order", "buy", *pair, "--amount", 1, "--price", "0.1", "--dir", anna
        )

        # Auctions.
        assert say("auction", "list").out == "no open auctions\n"
        lot = say("auction", "open", "rising", *pair, "--amount", 5, "--price", 10, "--for", 60, "--snipe", 5).out
        called = re.search(rf"who takes part says: meshnode auction bid ({RECORD})\n", lot)
        assert called and "5 SUN held for who bids most, from 10 EURO each" in lot
        (_, line) = rows(say("auction", "list").out)
        assert line[:4] + line[5:] == ["anna sells", "5 SUN", "from 10 EURO", "no bids", called[1]]
        own = say("auction", "bid", called[1], "--amount", 5, "--price", 10, code=1)
        assert "sender and receiver are the same" in own.out
        wanted = ("auction", "open", "falling", *pair, "--amount", 5, "--price", 2, "--for", 60, "--source", "solar")
        assert "10 EURO held for 5 SUN from who asks least" in say(*wanted).out
        assert ["anna buys", "5 SUN", "up to 2 EURO", "source solar"] in [
            line[:4] for line in rows(say("auction", "list").out)
        ]
        assert "no kind of auction" in complaint("auction", "open", "dutch", *wanted[3:-2], "--dir", anna)

        # Contracts.
        text = tmp_path / "contract.txt"
        text.write_text("what was agreed\n")
        terms = ("--to", "anna", "--role", "supplier", "--terms", text, "--until")
        assert "the same" in say("contract", "offer", *terms, "2099-01-01T00:00+00:00", code=1).out
        assert "a time without its zone" in complaint("contract", "offer", *terms, "2099-01-01", "--dir", anna)
        assert say("contract", "list").out == "no contracts\n"


@pytest.mark.parametrize("group", ["asset", "transfer", "exchange", "cash", "contract", "auction"])
def test_every_group_has_help(group: str) -> None:
    done = meshnode(group, "--help")
    assert done.code == 0 and done.out.startswith(f"usage: meshnode {group} COMMAND")


def rows(text: str) -> list[list[str]]:
    """The cells of a printed table."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
