"""Finality: signed acks in, final height out - told as stories of a village of five."""

from __future__ import annotations

import msgspec
import pytest

from protocols.block import Block, Parent
from protocols.certificate import check_certificate
from protocols.finality import MAX_AHEAD, Finality, Link
from protocols.records import PHASE_PREPARE, Certificate
from tests.protocols.keys import verify
from tests.protocols.village import Village, device

VILLAGE = Village(5)


def node(final_height: int = 0) -> Finality:
    return Finality(VILLAGE.chain_id, verify, final_height)


def link(block: Block) -> Link:
    return Link(block.header.height, block.header.term, block.block_hash, VILLAGE.quorum)


def chain(*terms: int, parent: Parent | None = None, time_s: int = 0) -> list[Block]:
    """Blocks of these terms one after the other; term n is led by the n-th home."""
    blocks: list[Block] = []
    parent = parent or VILLAGE.root
    for term in terms:
        head = {"time_s": parent.time_s + time_s} if time_s else None
        blocks.append(VILLAGE.block(parent, leader=VILLAGE.homes[term % 5], term=term, head=head))
        parent = Parent.of(blocks[-1])
    return blocks


def acks(finality: Finality, block: Block, *homes: str, term: int | None = None) -> list[Certificate]:
    """These homes acknowledge `block`, in `term` if it is not the block's own; certificates that come of it."""
    found = []
    for home in homes:
        key_id, ack, signature = VILLAGE.ack(block, home, ack_term=term or block.header.term)
        assert finality.verify_ack(key_id, ack, signature, VILLAGE.quorum)
        certificate = finality.add_ack(key_id, ack, signature)
        if certificate is not None:
            found.append(certificate)
    return found


def test_the_third_of_five_acks_makes_a_block_final() -> None:
    (block,) = chain(1)
    finality = node()
    assert finality.extend(link(block)) is None
    assert acks(finality, block, "anna", "bela") == [] and finality.final_height == 0
    (certificate,) = acks(finality, block, "carla")
    assert finality.final_height == 1
    assert check_certificate(certificate, 1, VILLAGE.quorum, VILLAGE.chain_id, verify) is None
    assert acks(finality, block, "dora") == []


def test_acks_may_come_before_the_block() -> None:
    (block,) = chain(1)
    finality = node()
    assert acks(finality, block, "anna", "bela", "carla") == [] and finality.final_height == 0
    certificate = finality.extend(link(block))
    assert certificate is not None and certificate.block == block.block_hash and finality.final_height == 1


def test_ancestors_become_final_with_a_block() -> None:
    blocks = chain(1, 1, 1, 1)
    finality = node()
    for block in blocks:
        finality.extend(link(block))
    acks(finality, blocks[0], "anna", "bela")
    (certificate,) = acks(finality, blocks[2], "anna", "bela", "carla")
    assert certificate.height == 3 and finality.final_height == 3
    # What is below is settled: late acks and certificates change nothing.
    assert acks(finality, blocks[0], "carla") == []
    assert finality.add_certificate(VILLAGE.certificate(blocks[0])) is None
    assert finality.extend(link(blocks[1])) is None and finality.final_height == 3


def test_figure_8_acks_of_a_later_term_never_certify_an_older_block() -> None:
    # Raft, section 5.4.2. Term 2: a block at height 2 reaches two nodes, then its leader
    # fails. Term 4: a new leader has it replicated everywhere and all acknowledge it, now in
    # term 4. That is no certificate: a leader of term 3 with a longer log could still win.
    one, two = chain(1, 2)
    finality = node()
    finality.extend(link(one))
    acks(finality, one, "anna", "bela", "carla")
    finality.extend(link(two))
    assert acks(finality, two, "anna", "bela") == []
    assert acks(finality, two, "anna", "bela", "carla", "dora", "emil", term=4) == []
    assert finality.final_height == 1
    forged = VILLAGE.certificate(two, ack_term=4)
    assert "acks of term 4 for a block of term 2" in (finality.add_certificate(forged) or "")
    # Only a block of term 4 settles it, and takes its ancestor along.
    (three,) = chain(4, parent=Parent.of(two))
    finality.extend(link(three))
    (certificate,) = acks(finality, three, "bela", "carla", "dora")
    assert certificate.height == 3 and finality.final_height == 3


def test_figure_8_the_other_ending() -> None:
    # The leader of term 3, whose block reached nobody else, wins term 5 instead: its log
    # is newer. It overwrites height 2, which four nodes had acknowledged in term 4.
    one, two = chain(1, 2)
    rival, fifth = chain(3, 5, parent=Parent.of(one))
    finality = node()
    finality.extend(link(one))
    acks(finality, one, "anna", "bela", "carla")
    finality.extend(link(two))
    acks(finality, two, "anna", "bela")
    acks(finality, two, "anna", "bela", "carla", "dora", term=4)
    finality.extend(link(rival))
    finality.extend(link(fifth))
    assert acks(finality, rival, "anna", "bela", "carla", "dora", "emil", term=5) == []
    (certificate,) = acks(finality, fifth, "carla", "dora", "emil")
    assert certificate.block == fifth.block_hash and finality.final_height == 3


def test_a_replaced_block_takes_its_descendants_along_and_may_come_back() -> None:
    one, two, three = chain(1, 1, 1)
    (rival,) = chain(2, parent=Parent.of(one))
    finality = node()
    for block in (one, two, three):
        finality.extend(link(block))
    acks(finality, three, "anna", "bela")
    finality.extend(link(rival))
    # The third block has left our log: even a certificate for it makes nothing final here.
    assert acks(finality, three, "carla") == [] and finality.final_height == 0
    assert finality.has(2) and not finality.has(3)
    finality.truncate(2)
    finality.extend(link(two))
    certificate = finality.extend(link(three))
    assert certificate is not None and finality.final_height == 3


def test_the_same_block_again_cuts_nothing() -> None:
    # A repeated append of an old block must not make us forget what follows it.
    one, two, three = chain(1, 1, 1)
    finality = node()
    for block in (one, two, three, one, two):
        finality.extend(link(block))
    assert len(acks(finality, three, "anna", "bela", "carla")) == 1 and finality.final_height == 3


def test_a_gap_is_our_own_mistake_and_loud() -> None:
    one, two, three = chain(1, 1, 1)
    finality = node()
    finality.extend(link(one))
    with pytest.raises(ValueError, match="block 3 does not follow what finality knows"):
        finality.extend(link(three))
    finality.extend(link(two))
    finality.extend(link(three))
    later = node(final_height=2)
    later.extend(link(three))
    assert len(acks(later, three, "anna", "bela", "carla")) == 1 and later.final_height == 3


def test_one_node_counts_once() -> None:
    (block,) = chain(1)
    finality = node()
    finality.extend(link(block))
    assert acks(finality, block, "anna", "anna", "anna", "bela", "bela") == [] and finality.final_height == 0


def test_a_node_that_acknowledges_two_blocks_of_a_height_counts_for_one() -> None:
    (block,) = chain(1)
    (other,) = chain(1, time_s=9)
    assert other.block_hash != block.block_hash
    finality = node()
    finality.extend(link(block))
    acks(finality, block, "anna", "bela")
    acks(finality, other, "bela")
    # Bela's ack of the other block has taken the place of her first one.
    assert acks(finality, block, "carla") == [] and finality.final_height == 0
    assert len(acks(finality, block, "dora")) == 1


def test_only_the_latest_term_of_a_node_counts() -> None:
    one, two = chain(1, 1)
    (rival,) = chain(2, parent=Parent.of(one))
    finality = node()
    finality.extend(link(one))
    finality.extend(link(two))
    acks(finality, rival, "anna")
    assert acks(finality, two, "anna", "bela", "carla") == []
    finality.extend(link(rival))
    assert len(acks(finality, rival, "bela", "carla")) == 1 and finality.final_height == 2


def test_prepare_acks_count_for_nothing_and_displace_nothing() -> None:
    (block,) = chain(1)
    finality = node()
    finality.extend(link(block))
    acks(finality, block, "anna", "bela")
    for home in VILLAGE.homes:
        assert finality.add_ack(*VILLAGE.ack(block, home, phase=PHASE_PREPARE)) is None
    assert finality.final_height == 0
    prepared = VILLAGE.certificate(block, phase=PHASE_PREPARE)
    assert "phase" in (finality.add_certificate(prepared) or "") and finality.final_height == 0
    assert len(acks(finality, block, "carla")) == 1 and finality.final_height == 1


def test_acks_are_verified_against_the_validators() -> None:
    (block,) = chain(1)
    finality = node()
    key_id, ack, signature = VILLAGE.ack(block, "anna")
    assert finality.verify_ack(key_id, ack, signature, VILLAGE.quorum)
    assert not finality.verify_ack(device("bela").key_id, ack, signature, VILLAGE.quorum)
    assert not finality.verify_ack(bytes(8), ack, signature, VILLAGE.quorum)
    assert not finality.verify_ack(key_id, ack, bytes(64), VILLAGE.quorum)
    assert not finality.verify_ack(key_id, msgspec.structs.replace(ack, height=2), signature, VILLAGE.quorum)
    assert not finality.verify_ack(key_id, ack, signature, Village(4).quorum)


def test_a_certificate_of_a_peer_is_checked_and_taken() -> None:
    blocks = chain(1, 1)
    finality = node()
    for block in blocks:
        finality.extend(link(block))
    bad = VILLAGE.certificate(blocks[1], ("anna", "bela"))
    assert "not a quorum" in (finality.add_certificate(bad) or "") and finality.final_height == 0
    (other,) = chain(1, time_s=9)
    assert "another block than ours" in (finality.add_certificate(VILLAGE.certificate(other)) or "")
    assert finality.add_certificate(VILLAGE.certificate(blocks[1])) is None and finality.final_height == 2


def test_a_certificate_may_come_before_the_block() -> None:
    one, two = chain(1, 1)
    finality = node()
    certificate = VILLAGE.certificate(two)
    assert "we do not have that block yet" in (finality.add_certificate(certificate) or "")
    assert finality.extend(link(one)) is None and finality.final_height == 0
    assert finality.extend(link(two)) == certificate and finality.final_height == 2


def test_what_is_waited_for_can_be_asked() -> None:
    one, two = chain(1, 1)
    finality = node()
    finality.extend(link(one))
    assert finality.has(1) and not finality.has(2) and finality.pending() == []
    certificate = VILLAGE.certificate(two)
    later = msgspec.structs.replace(certificate, height=3)
    finality.add_certificate(certificate)
    finality.add_certificate(later)
    assert finality.pending() == [later, certificate]
    finality.extend(link(two))
    assert finality.pending() == [later] and not finality.has(1) and not finality.has(2)


def test_a_certificate_waits_while_we_still_have_another_block() -> None:
    # We hold a block that lost; its rival's certificate is here before the rival.
    one, two = chain(1, 1)
    (rival,) = chain(2, parent=Parent.of(one))
    finality = node()
    certificate = VILLAGE.certificate(rival)
    finality.add_certificate(certificate)
    finality.extend(link(one))
    assert finality.extend(link(two)) is None and finality.final_height == 0
    assert finality.extend(link(rival)) == certificate and finality.final_height == 2


def test_a_waiting_certificate_that_does_not_hold_is_dropped() -> None:
    (block,) = chain(1)
    finality = node()
    bad = msgspec.structs.replace(VILLAGE.certificate(block), signatures=((device("anna").key_id, bytes(64)),))
    finality.add_certificate(bad)
    assert finality.extend(link(block)) is None and finality.final_height == 0
    assert len(acks(finality, block, "anna", "bela", "carla")) == 1


def test_memory_is_bounded_whatever_arrives() -> None:
    (block,) = chain(1)
    finality = node()
    key_id, ack, signature = VILLAGE.ack(block, "anna")
    certificate = VILLAGE.certificate(block)
    for height in range(1, 3 * MAX_AHEAD):
        for home in VILLAGE.homes:
            finality.add_ack(device(home).key_id, msgspec.structs.replace(ack, height=height), signature)
        finality.add_certificate(msgspec.structs.replace(certificate, height=height))
    assert held(finality) == MAX_AHEAD * (len(VILLAGE.homes) + 1)
    # What is final is forgotten.
    fresh = node()
    for block in chain(1, 1, 1, 1, 1, 1, 1, 1):
        fresh.extend(link(block))
        acks(fresh, block, *VILLAGE.homes)
    assert fresh.final_height == 8 and held(fresh) == 0
    assert key_id == device("anna").key_id


def held(finality: Finality) -> int:
    """How many acks, waiting certificates and links a tracker holds."""
    return sum(map(len, finality._acks.values())) + len(finality._pending) + len(finality._links)


def test_two_nodes_that_see_the_same_in_another_order_agree() -> None:
    blocks = chain(1, 1, 2, 2)
    forward, backward = node(), node()
    for block in blocks:
        forward.extend(link(block))
        acks(forward, block, "anna", "bela", "carla")
    for block in reversed(blocks):
        acks(backward, block, "carla", "bela", "anna")
    for block in blocks:
        backward.extend(link(block))
    assert forward.final_height == backward.final_height == 4
