"""Delivery commands: what they print for people, at a node that runs alone; the mesh's own stories are scenarios."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.shell import Done, alone, complaint, meshnode

RECORD = r"[0-9a-f]{64}"


def test_every_command_says_what_was_done(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    with alone(anna, "--meter", "driver=simulated,metering_point=home,seed=7") as say:
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
        assert say("point", "known", "--at", "anna", "--card", "04A2").out == "anna; nothing is reserved for it\n"
        assert "nobody who is bound" in say("point", "known", "--at", "anna", "--card", "04A3", code=1).out
        assert "expected one of the two" in complaint("point", "known", "--at", "anna", "--dir", anna)
        assert re.search(r"card +99 EURO +[0-9a-f]{16}", say("phone", "list").out)
        assert "good for nothing any more" in say("point", "unbind", "04A2").out
        assert say("phone", "list").out == "none\n"
        public = _phone(say, tmp_path)
        assert re.search(rf"phone +5000000 EURO .* {public}", say("phone", "list").out)
        assert "good for nothing any more" in say("phone", "unbind", public).out
        reserved = say("session", "reserve", "--at", "anna", "--energy", "20 kWh").out
        assert "what is not charged comes back" in reserved
        found = re.search(RECORD, reserved)
        assert found is not None
        assert "reserved" in say("session", "list").out and "busy" in say("point", "list").out
        assert "everything comes back" in say("session", "cancel", found[0]).out
        assert "the session or redemption is over" in say("session", "cancel", found[0], code=1).out
        assert "cancelled" in say("session", "list").out
        assert "cancelled" in say("session", "start", found[0]).out
        assert "there is no such delivery" in say("session", "stop", "0" * 64, code=1).err
        assert "coins can be sent" in say("point", "coins", "--asset", "COIN", "--unit", 250).out
        assert "those of what is not delivered come back" in say("redeem", "send", "--at", "anna", "--coins", 2).out
        assert "the point is closed" in say("point", "close").out
        say("asset", "issue", "KEPT", "--kind", "energy", "--cap", 1000)
        rules = ("--efficiency", 900_000, "--cost", 300, "--price", 200, "--fee-asset", "EURO", "--fee", 5)
        twice = ("--owners", "anna:1,anna:2", "--owners-get", 1_000_000)
        assert "each member once" in complaint("storage", "set", "KEPT", *rules, *twice, "--dir", anna)
        say("storage", "set", "KEPT", *rules, "--owners", "anna:7000", "--owners-get", 1_000_000)
        begun = say("storage", "start", "KEPT", "--capacity", "10 kWh").out
        assert "simulated battery: no energy is stored" in begun and "anna 7000" in begun
        assert "stopped" in say("storage", "stop", "KEPT").out
        assert "in no storage of this node" in say("storage", "stop", "GOLD", code=1).err


def _phone(say: Callable[..., Done], place: Path) -> str:
    """A phone signs for a session, which the station reserves and delivers while nobody looks; its public key."""
    made = meshnode("phone", "new", place / "phone.key").out
    (public,) = re.findall(RECORD, made)
    assert f"meshnode phone bind {public}" in made
    assert "sessions at anna that this phone signs for are at your cost" in (
        say("phone", "bind", public, "--at", "anna", "--asset", "EURO", "--most", 5_000_000).out
    )
    assert "anna; nothing is reserved" in say("point", "known", "--at", "anna", "--phone", public).out
    consent = say("phone", "consent", place / "phone.key", "--at", "anna", "--energy", "10 Wh").out
    reserved = say("session", "reserve", "--at", "anna", *shlex.split(consent)).out
    session = re.findall(RECORD, reserved)[-1]
    assert f"anna; session {session} waits for it" in say("point", "known", "--at", "anna", "--phone", public).out
    begun = say("session", "start", session, "--power", 36_000, "--detach").out
    assert "reserved" in begun or "running" in begun
    done = say("session", "start", session)
    assert "10 of 10 Wh" in done.out and "simulated charger: no energy flows" in done.err
    assert "refused" in say("session", "reserve", "--at", "anna", *shlex.split(consent), code=1).out
    return str(public)


@pytest.mark.parametrize("group", ["point", "phone", "session", "redeem", "storage"])
def test_each_group_says_what_there_is(group: str) -> None:
    shown = meshnode(group, "--help")
    assert shown.code == 0 and "list" in shown.out
