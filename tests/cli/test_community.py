"""Members and validators on the command line: what people read, what programs get, and how a change is typed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from meshnode.autopilot import Proposal, Step
from meshnode.cli.place import write_running
from meshnode.config import TOKEN_FILE
from meshnode.roster import Member, Roster, Seat, command
from protocols.cose import key_id_of
from protocols.records import CHANGE_ADD, CHANGE_REMOVE
from tests.cli.servers import answering, serving
from tests.cli.shell import Done, complaint, meshnode


def ask(directory: Path, answer: Any, *words: object, status: str = "200 OK") -> Done:
    """What a command makes of a node's answer."""
    (directory / TOKEN_FILE).write_text("a-token-of-the-tests\n")

    async def main() -> Done:
        async with serving(answering(msgspec.json.encode(answer), status)) as address:
            write_running(directory, [{"chain_id": "00" * 32, "web": address}], [])
            return await trio.to_thread.run_sync(lambda: meshnode(*words, "--dir", directory))

    return trio.run(main)


def seat(member: str, number: int, role: str, **more: Any) -> Seat:
    fields = {"device_key": member.encode().hex() + "00" * 28, "epoch": 0, "leads": False, "own": False}
    return Seat(**(fields | {"absent_s": 0, "height": 90, "caught_up": True} | more), **_of(member, number, role))


def _of(member: str, number: int, role: str) -> dict[str, Any]:
    return {"member": member, "number": number, "role": role}


STEPS = (Step(CHANGE_ADD, "dora"), Step(CHANGE_REMOVE, "carla"))
FOUND = Roster(
    mode="majority",
    config="ab" * 32,
    height=91,
    quorum=2,
    tolerates=1,
    may_decide=True,
    seats=(
        seat("anna", 1, "validator", leads=True, own=True, height=91),
        seat("bela", 2, "validator"),
        seat("carla", 3, "validator", epoch=1, absent_s=50_000, height=12, caught_up=False),
        seat("dora", 0, "learner"),
        seat("emil", 0, "learner", height=-1, caught_up=False),
    ),
    proposal=Proposal("gone", STEPS, "carla", 50_000),
    commands=tuple(command(step) for step in STEPS),
)


def test_validators_are_listed_with_what_the_autopilot_proposes(tmp_path: Path) -> None:
    for words in (("validators",), ("validators", "list")):
        done = ask(tmp_path, FOUND, *words)
        assert (done.code, done.err) == (0, "")
        lines = [line.split() for line in done.out.splitlines()]
        assert lines[1][:6] == ["1", "anna", "validator,", "leads", "0", "this"]
        assert lines[2][:7] == ["2", "bela", "validator", "0", "now", "90", "yes"]
        assert lines[3][:8] == ["3", "carla", "validator", "1", "13", "h", "ago", "12"]
        assert lines[4][:5] == ["-", "dora", "learner", "-", "now"]
        assert lines[5][5:7] == ["?", "?"]
        # The key is named as in logs and in evidence, and as `add` and `remove` take it.
        assert lines[1][-1] == key_id_of(bytes.fromhex(FOUND.seats[0].device_key)).hex()
        assert "majority: 2 of 3 must agree, 1 may fail; height 91" in done.out
        assert "nothing becomes final" not in done.out
        assert "carla has not been seen for 13 h; proposed, one after the other:" in done.out
        assert done.out.index("meshnode validators add dora") < done.out.index("meshnode validators remove carla")
    told = ask(tmp_path, FOUND, "validators", "--json")
    assert told.json["proposal"]["gone"] == "carla" and len(told.json["seats"]) == 5


def test_that_too_few_validators_run_is_said(tmp_path: Path) -> None:
    gone = [msgspec.structs.replace(seat, absent_s=0 if seat.own else 30) for seat in FOUND.seats]
    done = ask(tmp_path, msgspec.structs.replace(FOUND, seats=tuple(gone)), "validators")
    assert "seen from here: 1 of the 2 that are needed; nothing becomes final before more run\n" in done.out


def test_members_are_listed_and_those_who_left_only_on_demand(tmp_path: Path) -> None:
    one = {"roles": ("prosumer",), "joined_s": 1_800_000_000, "meters": 1, "device_key": "ab", "validates": False}
    found = {
        "members": [
            Member(name="anna", account="aa" * 16, left_s=0, **(one | {"validates": True})),
            Member(name="bela", account="bb" * 16, left_s=1_800_100_000, **one),
        ]
    }
    done = ask(tmp_path, found, "members")
    assert done.code == 0 and "validates" in done.out and "bela" not in done.out
    assert "bela" in ask(tmp_path, found, "members", "list", "--all").out
    assert [row["name"] for row in ask(tmp_path, found, "members", "--json").json["members"]] == ["anna"]


def test_what_the_node_refuses_is_a_no_with_its_reason(tmp_path: Path) -> None:
    reason = "dora's node is at height 5, this one at 91; wait until it has caught up"
    fault = {"errors": [{"place": "record", "found": reason, "expected": "at most 8 blocks behind", "remedy": ""}]}
    done = ask(tmp_path, fault, "validators", "add", "dora", status="409 Conflict")
    assert done.code == 1 and f"refused: {reason}" in done.err


@pytest.mark.parametrize("words", [("validators", "ad"), ("members", "expel")])
def test_a_command_that_is_none_says_which_there_are(words: tuple[str, ...]) -> None:
    said = complaint(meshnode(*words))
    assert said
