"""Delivery commands: what they print for people, at a node that runs alone; the mesh's own stories are scenarios."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.shell import Done, complaint, meshnode, running

RECORD = r"[0-9a-f]{64}"


def test_every_command_says_what_was_done(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    words = ("--community", "Via Verdi", "--name", "anna", "--preset", "neighbour-market", "--json")
    meter = ("--meter", "driver=simulated,metering_point=home,seed=7")
    made = meshnode("init", anna, *words, *meter, "--listen", "/ip4/127.0.0.1/tcp/0", "--web", "127.0.0.1:0")
    assert made.code == 0, made
    with running(anna):

        def say(*words: object, code: int = 0) -> Done:
            done = meshnode(*words, "--dir", anna)
            assert done.code == code, done
            return done

        assert say("point", "list").out == "no points\n"
        assert say("session", "list").out == say("redeem", "list").out == "none\n"
        assert say("storage", "list").out == "no stored energy\n"
        nobody = ("session", "reserve", "--at", "bela", "--energy", "1 kWh", "--dir", anna)
        assert "0 points are meant" in complaint(*nobody)
        nothing = ("storage", "report", "--asset", "KEPT", "--charged", 1, "--discharged", 0, "--dir", anna)
        assert "not in a storage of this node" in complaint(*nothing)
        say("asset", "issue", "EURO", "--kind", "money", "--cap", 10**8, "--amount", 10**7)
        say("asset", "issue", "COIN", "--kind", "energy", "--cap", 10, "--amount", 10)
        terms = ("--price", 250_000, "--fee", 30_000, "--flat", 500_000)
        opened = say("point", "station", "--asset", "EURO", *terms).out
        expected = rf"accepted in block \d+: sessions can be reserved at your station\n    record {RECORD}\n"
        assert re.fullmatch(expected, opened)
        assert "free" in say("point", "list").out
        bound = say("point", "bind", "04A2", "--at", "anna", "--asset", "EURO", "--most", 99).out
        assert "charges at your cost" in bound
        reserved = say("session", "reserve", "--at", "anna", "--energy", "20 kWh").out
        assert "what is not charged comes back" in reserved
        found = re.search(RECORD, reserved)
        assert found is not None
        assert "reserved" in say("session", "list").out and "busy" in say("point", "list").out
        assert "everything comes back" in say("session", "cancel", found[0]).out
        assert "the session or redemption is over" in say("session", "cancel", found[0], code=1).out
        assert "cancelled" in say("session", "list").out
        assert "coins can be sent" in say("point", "coins", "--asset", "COIN", "--unit", 250).out
        assert "those of what is not delivered come back" in say("redeem", "send", "--at", "anna", "--coins", 2).out
        assert "the point is closed" in say("point", "close").out


@pytest.mark.parametrize("group", ["point", "session", "redeem", "storage"])
def test_each_group_says_what_there_is(group: str) -> None:
    shown = meshnode(group, "--help")
    assert shown.code == 0 and "list" in shown.out
