"""Histories: forks on paper, and whom the disks of two nodes convict of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocols.block import Block, Parent
from protocols.evidence import judge
from protocols.histories import Extraction, History, extract
from protocols.records import Certificate, Election, to_payload
from tests.protocols.cases import FOUR, ONE, OTHER_TWO, ROLL, THREE, TWO, VILLAGE, ack, head, tip, vote
from tests.protocols.keys import verify
from tests.protocols.village import device

ALL = VILLAGE.homes


def disk(
    owner: str,
    chain: Iterable[Block],
    *certificates: Certificate,
    elections: Iterable[Election] = (),
    statements: Iterable[bytes] = (),
) -> History:
    return History(
        owner=device(owner).key_id if owner else b"",
        blocks=tuple(block.encoded for block in chain),
        certificates=tuple(to_payload(certificate) for certificate in certificates),
        elections=tuple(to_payload(election) for election in elections),
        statements=tuple(statements),
    )


def names(found: Extraction) -> dict[str, set[str]]:
    """Home -> the kinds that convict it."""
    homes = {device(home).key_id: home for home in ALL}
    named: dict[str, set[str]] = {}
    for evidence in found.evidence:
        case = judge(evidence, ROLL, verify)
        named.setdefault(homes[case.accused], set()).add(case.kind.name)
    return named


def compared(*histories: History) -> Extraction:
    return extract(histories, ROLL, verify)


def elected(leader: str, term: int, parent: Block, *voters: str) -> Block:
    election = VILLAGE.election(leader, term, Parent.of(parent), voters)
    return VILLAGE.block(Parent.of(parent), leader, term, election=election)


def test_one_history_convicts_nobody_however_often_it_is_told() -> None:
    whole = disk(
        "anna", (ONE, TWO, THREE, FOUR), VILLAGE.certificate(TWO), VILLAGE.certificate(FOUR, ("anna", "bela", "dora"))
    )
    part = disk("dora", (ONE, TWO), VILLAGE.certificate(ONE))
    found = compared(whole, part, whole, disk("", (THREE,)))
    assert found == Extraction((), (), 0)


def test_a_leader_that_makes_two_histories_in_its_term_and_who_acknowledged_both() -> None:
    one = VILLAGE.block(Parent.of(ONE), "anna", 1)
    two = VILLAGE.block(Parent.of(ONE), "anna", 1, head={"time_s": one.header.time_s + 1})
    after = VILLAGE.block(Parent.of(two), "anna", 1)
    found = compared(
        disk("bela", (ONE, one), VILLAGE.certificate(one, ("anna", "bela", "emil"))),
        disk("carla", (ONE, two, after), VILLAGE.certificate(after, ("carla", "dora", "emil"))),
    )
    assert names(found) == {"anna": {"HEADERS"}, "emil": {"ACKS"}}
    assert not found.open


def test_two_leaders_of_one_term_and_the_voter_of_both() -> None:
    one = elected("bela", 3, TWO, "anna", "bela", "emil")
    two = elected("carla", 3, TWO, "carla", "dora", "emil")
    found = compared(
        disk("bela", (ONE, TWO, one), VILLAGE.certificate(one, ("anna", "bela", "emil"))),
        disk("carla", (ONE, TWO, two), VILLAGE.certificate(two, ("carla", "dora", "emil"))),
    )
    assert names(found) == {"emil": {"VOTES", "ACKS"}}


def test_a_leader_whom_nobody_elected() -> None:
    two = elected("carla", 3, TWO, "carla", "dora")
    found = compared(disk("bela", (ONE, TWO)), disk("carla", (ONE, TWO, two)))
    assert names(found) == {"carla": {"FORM"}}


# X = TWO is certified in term 1 by anna, bela and dora. Carla, who has only ONE, is elected in term 4.
CERTIFIED = VILLAGE.certificate(TWO, ("anna", "bela", "dora"))
ELECTED = elected("carla", 4, ONE, "carla", "dora", "emil")
FORK = VILLAGE.certificate(ELECTED, ("carla", "dora", "emil"))


def test_a_voter_that_forgot_what_it_acknowledged_is_named_if_it_has_no_answer() -> None:
    found = compared(
        disk("bela", (ONE, TWO), CERTIFIED), disk("carla", (ONE, ELECTED), FORK), disk("dora", (ONE, ELECTED), FORK)
    )
    assert names(found) == {"dora": {"OLDER_TIP"}} and not found.open


def test_it_is_only_asked_if_its_own_history_is_not_there() -> None:
    found = compared(disk("bela", (ONE, TWO), CERTIFIED), disk("carla", (ONE, ELECTED), FORK))
    assert not found.evidence
    assert [evidence.accused for evidence in found.open] == [device("dora").key_id]


def test_an_answer_moves_the_case_to_an_earlier_term() -> None:
    # Dora dropped TWO for emil, elected in term 2 by anna, who had acknowledged TWO and votes without it.
    justifies = VILLAGE.election("emil", 2, Parent.of(ONE), ("anna", "carla", "emil"))
    dora = disk("dora", (ONE, ELECTED), FORK, elections=(justifies,))
    bela, carla = disk("bela", (ONE, TWO), CERTIFIED), disk("carla", (ONE, ELECTED), FORK)
    found = compared(bela, carla, dora, disk("anna", (ONE,)))
    assert names(found) == {"anna": {"OLDER_TIP"}} and not found.open
    # The answer does not hold if it was no election, or of another time.
    for bad in (
        VILLAGE.election("emil", 2, Parent.of(ONE), ("anna", "emil")),
        VILLAGE.election("emil", 4, Parent.of(ONE), ("carla", "bela", "emil")),
        VILLAGE.election("emil", 2, Parent.of(TWO), ("carla", "bela", "emil")),
    ):
        found = compared(bela, carla, disk("dora", (ONE, ELECTED), FORK, elections=(bad,)))
        assert names(found)["dora"] == {"OLDER_TIP"}


def test_figure_eight_is_no_fork() -> None:
    # TWO is acknowledged again in term 3, by a leader that dies; carla goes on without it.
    anew = VILLAGE.certificate(TWO, ("anna", "bela", "dora"), ack_term=3)
    found = compared(
        disk("bela", (ONE, TWO), anew), disk("carla", (ONE, ELECTED), FORK), disk("dora", (ONE, ELECTED), FORK)
    )
    assert found == Extraction((), (), 0)


def test_what_was_heard_counts_like_what_was_stored() -> None:
    heard = (
        head(TWO),
        head(VILLAGE.block(Parent.of(ONE), "anna", 1, head={"time_s": TWO.header.time_s + 7})),
        vote("dora", 3, "bela", tip(TWO)),
        vote("dora", 3, "carla", tip(TWO)),
        vote("emil", 3, "carla", msgspec.structs.replace(tip(TWO), height=5), tip(TWO)),
        ack(TWO, "bela", ack_term=4),
        ack(OTHER_TWO, "bela"),
    )
    found = compared(disk("anna", (), statements=heard))
    assert names(found) == {"anna": {"HEADERS"}, "bela": {"ACKS"}, "dora": {"VOTES"}, "emil": {"TIP"}}


def test_forged_and_unreadable_parts_neither_convict_nor_hide_anything() -> None:
    forged = msgspec.structs.replace(FORK, signatures=tuple((key, bytes(64)) for key, _ in FORK.signatures))
    good = vote("dora", 3, "bela", tip(TWO))
    histories = (
        disk("bela", (ONE, TWO), CERTIFIED, forged, statements=(b"\x00", good[:-64] + bytes(64), head(ONE)[:-1])),
        msgspec.structs.replace(disk("dora", (ONE, ELECTED), FORK), blocks=(ONE.encoded, ELECTED.encoded, b"no block")),
        History(certificates=(b"none",), elections=(b"none",)),
    )
    found = compared(*histories)
    assert names(found) == {"dora": {"OLDER_TIP"}} and found.unreadable == 5
    # A forged ack between two that conflict.
    branch = VILLAGE.block(Parent.of(OTHER_TWO), "carla", 4)
    between = ack(OTHER_TWO, "dora")
    statements = (ack(TWO, "dora", ack_term=4), ack(branch, "dora"), between[:-64] + bytes(64))
    found = compared(disk("anna", (ONE, TWO, OTHER_TWO, branch), statements=statements))
    assert names(found) == {"dora": {"ACKS"}}
