"""Token commands: what they print for people, at a node that runs alone; the mesh's own story is a scenario."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.shell import Done, complaint, meshnode, running

RECORD = r"[0-9a-f]{64}"


def test_every_command_says_what_was_done(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    words = ("--community", "Via Verdi", "--name", "anna", "--preset", "neighbour-market", "--json")
    nowhere = ("--listen", "/ip4/127.0.0.1/tcp/0", "--joining", "", "--web", "127.0.0.1:0")
    made = meshnode("init", anna, *words, *nowhere)
    assert made.code == 0, made
    with running(anna):

        def say(*words: object, code: int = 0) -> Done:
            done = meshnode(*words, "--dir", anna)
            assert done.code == code, done
            return done

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

        # Contracts.
        text = tmp_path / "contract.txt"
        text.write_text("what was agreed\n")
        terms = ("--to", "anna", "--role", "supplier", "--terms", text, "--until")
        assert "the same" in say("contract", "offer", *terms, "2099-01-01T00:00+00:00", code=1).out
        assert "a time without its zone" in complaint("contract", "offer", *terms, "2099-01-01", "--dir", anna)
        assert say("contract", "list").out == "no contracts\n"


@pytest.mark.parametrize("group", ["asset", "transfer", "exchange", "cash", "contract"])
def test_every_group_has_help(group: str) -> None:
    done = meshnode(group, "--help")
    assert done.code == 0 and done.out.startswith(f"usage: meshnode {group} COMMAND")


def rows(text: str) -> list[list[str]]:
    """The cells of a printed table."""
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]
