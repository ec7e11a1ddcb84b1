"""Inspection: what one block says in plain values, and proofs that travel without the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshnode.ledger_tools import NotInLedger, check_receipt, receipt, show
from meshnode.market.registry import installed_mechanisms
from meshnode.store import StoreError
from protocols.receipt import SIGNED_BY_FOUNDER, SIGNER_LATER, ReceiptError
from protocols.records import to_payload
from tests.ledger.chain import Chain, a_busy_morning, member
from tests.protocols.keys import key_pair
from tests.protocols.village import device


def test_a_block_is_shown_with_verdicts_and_signers(morning: Chain, ledger: Path) -> None:
    shown = show(ledger, 3, morning.mechanisms)
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["community"], shown["height"], shown["final"]) == ("Unterdorf", 3, True)
    assert shown["hash"] == morning.blocks[2].block_hash.hex()
    assert shown["leader"] == {"key": device("anna").key_id.hex(), "member": "anna", "purpose": "device"}
    assert (shown["header"]["term"], shown["header"]["tx_count"], shown["election"]) == (1, 2, None)
    first, second = shown["records"]
    assert (first["kind"], first["fields"]["amount"], first["verdict"]) == ("Transfer", 30, "ACCEPTED")
    assert first["signer"] == {"key": key_pair("anna").key_id.hex(), "member": "anna", "purpose": "member"}
    assert (second["verdict"], second["meaning"]) == ("NOT_ENOUGH", "the member does not have that much")
    # Block 3 has no certificate of its own: that of block 4 covers it.
    assert shown["certificate"]["height"] == 4
    assert sorted(signer["member"] for signer in shown["certificate"]["signed_by"]) == ["anna", "bela", "carla"]


def test_the_first_block_of_a_term_shows_who_elected_its_leader(morning: Chain, ledger: Path) -> None:
    shown = show(ledger, 5, morning.mechanisms)
    assert shown["leader"]["member"] == "bela"
    assert (shown["election"]["term"], len(shown["election"]["votes"])) == (2, 3)


def test_a_block_that_is_not_final_has_no_verdicts_yet(morning: Chain, ledger: Path) -> None:
    shown = show(ledger, 7, morning.mechanisms)
    assert (shown["final"], shown["certificate"]) == (False, None)
    assert [record["verdict"] for record in shown["records"]] == [None]


def test_who_joined_later_has_a_name_too(tmp_path: Path) -> None:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    chain.block(chain.issue("emil"))
    shown = show(chain.store(tmp_path), 2, chain.mechanisms)
    assert shown["records"][0]["signer"]["member"] == "emil"


@pytest.mark.parametrize("height", [0, 8, -1])
def test_a_height_that_is_not_there(morning: Chain, ledger: Path, height: int) -> None:
    with pytest.raises(NotInLedger, match=f"no block {height}; it has 1 to 7"):
        show(ledger, height, morning.mechanisms)


def test_a_node_with_several_microgrids_asks_which(tmp_path: Path) -> None:
    first, second = a_busy_morning(), Chain(community="Oberdorf")
    first.store(tmp_path)
    second.store(tmp_path)
    with pytest.raises(StoreError, match=r"has the ledgers of 2 microgrids \(.*\); name one"):
        show(tmp_path, 1, first.mechanisms)
    assert show(tmp_path, 1, first.mechanisms, first.chain_id)["community"] == "Unterdorf"
    with pytest.raises(StoreError, match="no ledger of 0000"):
        show(tmp_path, 1, first.mechanisms, bytes(32))


def test_every_final_record_has_a_receipt(morning: Chain, ledger: Path) -> None:
    genesis = to_payload(morning.genesis)
    for block in morning.blocks[:6]:
        for index, signed in enumerate(block.records):
            proved = check_receipt(receipt(ledger, signed.record_id, installed_mechanisms()), genesis)
            assert (proved.record, proved.record_id) == (signed.record, signed.record_id)
            assert (proved.height, proved.index, proved.validators) == (block.header.height, index, 3)
            # Block 3 is proved by block 4's certificate.
            assert proved.certified_height == max(block.header.height, 4 if block.header.height == 3 else 0)
            assert proved.note == SIGNED_BY_FOUNDER


def test_a_receipt_of_somebody_who_joined_later_says_so(tmp_path: Path) -> None:
    chain = Chain()
    chain.block(chain.join(member("emil")))
    order = chain.bid("emil", 1, 100, 150_000)
    chain.block(order)
    proved = check_receipt(
        receipt(chain.store(tmp_path), order.record_id, installed_mechanisms()), to_payload(chain.genesis)
    )
    assert (proved.note, proved.member) == (SIGNER_LATER, None)


def test_what_is_not_final_has_no_receipt(morning: Chain, ledger: Path) -> None:
    with pytest.raises(NotInLedger, match="in no final block up to height 6"):
        receipt(ledger, morning.blocks[6].records[0].record_id, installed_mechanisms())


def test_a_receipt_that_was_changed_or_is_of_another_microgrid_does_not_hold(morning: Chain, ledger: Path) -> None:
    data = receipt(ledger, morning.blocks[1].records[1].record_id, installed_mechanisms())
    for offset in range(0, len(data), 11):
        flipped = bytes((*data[:offset], data[offset] ^ 4, *data[offset + 1 :]))
        with pytest.raises(ReceiptError):
            check_receipt(flipped, to_payload(morning.genesis))
    with pytest.raises(ReceiptError):
        check_receipt(data, to_payload(Chain(community="Oberdorf").genesis))
    with pytest.raises(StoreError, match="genesis: "):
        check_receipt(data, b"no genesis")
