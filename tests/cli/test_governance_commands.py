"""Governance commands: a binding proposed, read and voted on as people type it, at a node that runs alone."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from meshnode.declaring import LOOK_S
from tests.cli.shell import PATIENCE_S, Done, alone, complaint, meshnode
from tests.ledger.governing import DEARER, WITHOUT_FEE
from zencode.commands import hash as hash_of
from zencode.presets import preset


def test_a_member_proposes_and_votes_and_reads_what_comes_of_it(tmp_path: Path) -> None:
    anna, file, other = tmp_path / "anna", tmp_path / "dearer.zen", tmp_path / "free.zen"
    file.write_text(DEARER)
    other.write_text(WITHOUT_FEE)
    code = hash_of(DEARER)[:16]
    with alone(anna) as say:
        told = say("binding", "status").out
        assert f"in force: binding {hash_of(preset('neighbour_market'))[:16]}" in told
        assert "66 % of the members' votes and 14 days notice" in told and "nothing is proposed" in told

        told = say("binding", "propose", file).out
        assert f"binding {code} is proposed" in told and f"meshnode binding vote {code} yes" in told
        assert "has a proposal that is not decided" in say("binding", "propose", other, code=1).out
        told = _open(say)
        assert f"binding {code} «Borgo Sole», proposed by anna" in told
        assert "0 of the 1 votes that adopt it" in told and "1 more needed; not voted yet: anna" in told
        assert "0.40 EUR/kWh" in say("binding", "text", code[:8]).out

        assert "no such proposal is open" in complaint("binding", "vote", "beef", "yes", "--dir", anna)
        assert "write yes, no or abstain" in complaint("binding", "vote", code, "perhaps", "--dir", anna)
        assert "is proposed no more" in say("binding", "withdraw", code).out
        told = say("binding", "propose", other).out
        assert f"binding {hash_of(WITHOUT_FEE)[:16]} is proposed" in told
        assert "you voted yes" in say("binding", "vote", hash_of(WITHOUT_FEE)[:8], "yes").out
        told = say("binding", "status").out
        assert "adopted with 1 of 1 votes" in told and re.search(r"begins on [0-9-]{10} [0-9:]{5}, with a", told)
        assert "vote is over" not in told
        told = say("binding", "history").out
        assert "the founding" in told and re.search(rf"{code} +anna +withdrawn +0 yes, 0 no of 1", told)

        assert "no orders meet for 2 hours at most" in say("binding", "pause", "the plant lies", "--for", 2).out
        assert "MATCHING IS PAUSED by anna until" in say("binding", "status").out
        assert "orders meet again" in say("binding", "resume").out
        assert "is not paused" in say("binding", "resume", code=1).out
    broken = tmp_path / "broken.zen"
    broken.write_text(DEARER.replace("accept the member", "eat cake"))
    told = meshnode("binding", "propose", broken, "--dir", anna)
    assert told.code == 2 and f"{broken}: line 24" in told.err, told


def _open(say: Callable[..., Done]) -> str:
    """The status once the vote is open: the node has then said on the ledger what it can execute."""
    patient_until = time.monotonic() + PATIENCE_S
    while "nobody votes yet" in (told := say("binding", "status").out):
        assert "0 of 1 nodes have declared that they could carry it out" in told
        assert time.monotonic() < patient_until, told
        time.sleep(LOOK_S / 10)
    return told
