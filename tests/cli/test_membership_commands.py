"""Requests, bills and warnings on the command line: what people read of a node's answer."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_community import ask

REQUEST = {
    "id": "ab" * 32,
    "name": "emil",
    "roles": ["prosumer"],
    "until_s": 1_800_000_000,
    "needed_ppm": 600_000,
    "agreed": ["bela"],
    "against": [],
}
BILL = {
    "member": "bela",
    "from_s": 1_797_000_000,
    "until_s": 1_799_600_000,
    "charges_u": 12_300_000,
    "credits_u": 2_000_000,
    "tax_u": 2_337_000,
    "tax_credit_u": 0,
    "pay_u": 12_640_000,
    "receive_u": 0,
    "collector": "Village Cooperative",
    "due_s": 1_802_000_000,
}


def test_requests_are_listed_with_who_has_agreed(tmp_path: Path) -> None:
    found = ask(tmp_path, {"requests": [REQUEST]}, "requests").out
    assert "emil" in found and "1 agree, 0 do not" in found and "60 %" in found and "ab" * 32 in found


def test_warnings_say_what_happened_to_whom(tmp_path: Path) -> None:
    warning = {"event": "a meter is silent", "time_s": 1_800_000_000, "member": "bela", "meter": "cd" * 8}
    found = ask(tmp_path, {"warnings": [warning]}, "warnings").out
    assert "a meter is silent" in found and "bela" in found and "cd" * 8 in found


def test_programs_get_the_bill_whole(tmp_path: Path) -> None:
    assert ask(tmp_path, {"bills": [BILL]}, "bills", "--json").json == {"bills": [BILL]}


def test_an_id_that_is_none_is_explained(tmp_path: Path) -> None:
    told = ask(tmp_path, {}, "requests", "agree", "nobody")
    assert told.code == 2 and "meshnode requests" in told.err
