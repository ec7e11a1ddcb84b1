"""Validators on the ledger: how they are decided, when a decision is in force, and how a file proves it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from meshnode.ledger import validators
from meshnode.ledger.verdicts import Verdict
from meshnode.ledger_tools import check_receipt, receipt, verify
from meshnode.market.registry import installed_mechanisms
from protocols import receipt as receipts
from protocols.receipt import ReceiptError
from protocols.records import (
    CHANGE_ADD,
    CHANGE_MODE,
    CHANGE_REMOVE,
    QUORUM_BYZANTINE,
    QUORUM_MAJORITY,
    ValidatorEntry,
    to_payload,
)
from protocols.records.agreement import MAX_RECEIPT_CHANGES
from tests.ledger.chain import Chain, member
from tests.protocols.village import HOMES, device


def founded(homes: int, voting: int, **changes: object) -> Chain:
    """A chain of so many homes of which the first `voting` validate."""
    entries = tuple(ValidatorEntry(device_key=device(home).public) for home in HOMES[:voting])
    return Chain(homes, validators=entries, **changes)


def voters(chain: Chain) -> list[str]:
    quorum = chain.machine.quorum
    return [home for home in HOMES if quorum.has(device(home).public)]


def decide(chain: Chain, action: int, home: str | None = None, **changes: object) -> Verdict:
    """Decide a change, and one block more, which announces it."""
    verdict = chain.say(chain.change(action, home, **changes))
    chain.block()
    assert isinstance(verdict, Verdict)
    return verdict


def test_a_change_is_decided_announced_and_in_force_block_by_block() -> None:
    chain = founded(4, 3)
    before = chain.machine.quorum
    decided = chain.block(chain.change(CHANGE_ADD, "dora"))
    assert chain.verdicts() == [Verdict.ACCEPTED] and chain.machine.quorum == before
    announcing = chain.block()
    assert announcing.header.validators == decided.header.next_validators == before.config_hash()
    assert announcing.header.next_validators == chain.machine.quorum.config_hash() != before.config_hash()
    assert voters(chain) == ["anna", "bela", "carla", "dora"]
    assert chain.block().header.validators == chain.machine.quorum.config_hash()
    # The certificates of what is not executed yet count only from those who vote there.
    assert chain.machine.quorum_of(before.config_hash()) is None


def test_the_header_must_announce_what_the_state_says() -> None:
    chain = founded(4, 3)
    chain.block(chain.change(CHANGE_ADD, "dora"))
    old = chain.machine.quorum.config_hash()
    early = chain.block(certify=False, next_validators=b"x" * 32)
    assert "OTHER_VALIDATORS" in (chain.machine.check_view(early) or "")
    chain.blocks.pop()
    late = chain.block(certify=False, next_validators=old)
    assert "OTHER_VALIDATORS" in (chain.machine.check_view(late) or "")


def test_who_is_behind_is_served_only_what_it_can_check() -> None:
    chain = founded(5, 3)
    chain.block()
    assert validators.provable_until(chain.machine.state, 0) is None, "nothing was ever decided"
    assert decide(chain, CHANGE_ADD, "dora") == Verdict.ACCEPTED  # in block 2, announced by block 3
    chain.block()
    assert decide(chain, CHANGE_ADD, "emil") == Verdict.ACCEPTED  # in block 5, announced by block 6
    chain.block()
    found = {height: validators.provable_until(chain.machine.state, height) for height in range(8)}
    assert found == {0: 3, 1: 3, 2: 6, 3: 6, 4: 6, 5: None, 6: None, 7: None}
    assert validators.last_heights(chain.machine.state, 1, 7) == [3, 6]
    assert validators.last_heights(chain.machine.state, 4, 6) == []


def test_numbers_stay_and_sessions_rise() -> None:
    chain = founded(4, 4)
    seats = {home: chain.machine.state.seats[device(home).public] for home in HOMES[:4]}
    assert sorted(seat.number for seat in seats.values()) == [1, 2, 3, 4]
    first = dict(chain.machine.quorum.voters)
    assert decide(chain, CHANGE_REMOVE, "dora") == Verdict.ACCEPTED
    assert decide(chain, CHANGE_ADD, "dora") == Verdict.ACCEPTED
    again = chain.machine.state.seats[device("dora").public]
    assert (again.number, again.epoch) == (seats["dora"].number, 1)
    now = dict(chain.machine.quorum.voters)
    assert now[device("dora").public] == 1 and now[device("anna").public] == first[device("anna").public] == 0


def test_a_device_that_joined_later_gets_the_next_number() -> None:
    chain = founded(4, 3)
    chain.block(chain.join(member("emil")))
    assert decide(chain, CHANGE_ADD, "emil") == Verdict.ACCEPTED
    assert chain.machine.state.seats[device("emil").public].number == 4
    # Who votes cannot simply leave; first somebody decides that it votes no more.
    assert chain.say(chain.leave("emil")) == Verdict.VALIDATOR_KEY
    assert decide(chain, CHANGE_REMOVE, "emil") == Verdict.ACCEPTED
    assert chain.say(chain.leave("emil")) == Verdict.ACCEPTED


def test_who_is_about_to_vote_cannot_leave_either_nor_who_still_votes() -> None:
    chain = founded(5, 3)
    chain.block(chain.change(CHANGE_ADD, "dora"), chain.leave("dora"), chain.leave("emil"))
    assert chain.verdicts() == [Verdict.ACCEPTED, Verdict.VALIDATOR_KEY, Verdict.ACCEPTED]
    chain.block()
    chain.block(chain.change(CHANGE_REMOVE, "dora"), chain.leave("dora"))
    assert chain.verdicts() == [Verdict.ACCEPTED, Verdict.VALIDATOR_KEY]


def test_a_microgrid_founded_small_may_stay_small_and_no_other_becomes_it() -> None:
    chain = founded(3, 1)
    assert decide(chain, CHANGE_ADD, "bela") == Verdict.ACCEPTED
    assert decide(chain, CHANGE_ADD, "carla") == Verdict.ACCEPTED
    assert decide(chain, CHANGE_REMOVE, "carla") == Verdict.ACCEPTED
    assert decide(chain, CHANGE_REMOVE, "bela") == Verdict.ACCEPTED
    assert decide(chain, CHANGE_REMOVE, "anna") == Verdict.TOO_FEW_VALIDATORS
    assert decide(founded(3, 3), CHANGE_REMOVE, "carla") == Verdict.TOO_FEW_VALIDATORS


def test_byzantine_quorums_have_their_sizes() -> None:
    chain = founded(5, 4)
    assert decide(chain, CHANGE_MODE, mode=QUORUM_BYZANTINE) == Verdict.ACCEPTED
    assert chain.machine.quorum.mode == QUORUM_BYZANTINE
    assert decide(chain, CHANGE_ADD, "emil") == Verdict.NOT_BYZANTINE_SIZE
    assert decide(chain, CHANGE_REMOVE, "dora") == Verdict.NOT_BYZANTINE_SIZE
    assert decide(chain, CHANGE_MODE, mode=QUORUM_MAJORITY) == Verdict.ACCEPTED
    assert decide(chain, CHANGE_REMOVE, "dora") == Verdict.ACCEPTED


def test_a_ledger_whose_validators_changed_is_verified(tmp_path: Path) -> None:
    chain = founded(5, 3)
    for action, home in ((CHANGE_ADD, "dora"), (CHANGE_ADD, "emil"), (CHANGE_REMOVE, "anna")):
        if home == "anna":
            chain.elect("bela")
        assert decide(chain, action, home) == Verdict.ACCEPTED
        chain.block(chain.reading("bela", -1, 1000 + chain.machine.height))
    report = verify(chain.store(tmp_path), installed_mechanisms())
    assert report.ok, report.chains[0].bad


def test_a_receipt_carries_the_changes_that_lead_to_its_signers(tmp_path: Path) -> None:
    chain = founded(5, 3)
    genesis = to_payload(chain.genesis)
    before = chain.bid("anna", 1, 100, 150_000)
    chain.block(before)
    for action, home in ((CHANGE_ADD, "dora"), (CHANGE_ADD, "emil"), (CHANGE_REMOVE, "carla"), (CHANGE_ADD, "carla")):
        assert decide(chain, action, home) == Verdict.ACCEPTED
    after = chain.bid("anna", 1, 200, 150_000)
    chain.block(after)
    place = chain.store(tmp_path)
    assert check_receipt(receipt(place, before.record_id, installed_mechanisms()), genesis).changes == 0
    data = receipt(place, after.record_id, installed_mechanisms())
    found = check_receipt(data, genesis)
    assert (found.changes, found.validators, found.member) == (4, 5, "anna")
    known = validators.decisions(chain.machine.state)
    assert receipt(place, after.record_id, installed_mechanisms(), decisions=known) == data
    assert len(data) < 8 * 1024, "four changes are a few kilobytes"
    proof = receipts.decode(data)
    for bad in (proof.changes[:-1], proof.changes[1:], (*proof.changes, proof.changes[0]), proof.changes[::-1]):
        with pytest.raises(ReceiptError):
            check_receipt(receipts.encode(msgspec.structs.replace(proof, changes=bad)), genesis)
    for offset in range(0, len(data), 97):
        with pytest.raises(ReceiptError):
            check_receipt(bytes((*data[:offset], data[offset] ^ 4, *data[offset + 1 :])), genesis)


def test_a_receipt_may_reach_over_a_change(tmp_path: Path) -> None:
    # The block that announces the change was certified by nobody but those who vote after it.
    chain = founded(4, 3)
    chain.block(chain.change(CHANGE_ADD, "dora"))
    order = chain.bid("anna", 1, 100, 150_000)
    chain.block(order, certify=False)
    chain.block()
    found = check_receipt(
        receipt(chain.store(tmp_path), order.record_id, installed_mechanisms()), to_payload(chain.genesis)
    )
    assert (found.height, found.certified_height, found.validators, found.changes) == (2, 3, 4, 1)


def test_a_change_that_no_administrator_signed_leads_nowhere(tmp_path: Path) -> None:
    chain = founded(4, 3)
    forged = chain.change(CHANGE_ADD, "dora", by="bela")
    block = chain.block(forged, certify=False)
    assert "NOT_ADMINISTRATOR" in (chain.machine.check_view(block) or ""), "no honest validator certifies it"
    link = receipts.make(block, forged.record_id, [], chain.village.certificate(block))
    proof = receipts.with_changes(link, [link])
    with pytest.raises(ReceiptError, match="signed by bela, who is no administrator"):
        check_receipt(receipts.encode(proof), to_payload(chain.genesis))


def test_a_file_proves_so_many_changes_and_no_more() -> None:
    chain = founded(3, 3)
    order = chain.bid("anna", 1, 100, 150_000)
    block = chain.block(order)
    link = receipts.make(block, order.record_id, [], chain.certificates[1])
    with pytest.raises(ReceiptError, match="ask a node of the microgrid instead"):
        receipts.with_changes(link, [link] * (MAX_RECEIPT_CHANGES + 1))
