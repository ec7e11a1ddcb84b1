"""Vectors: protocols/vectors/*.json against the code, as another implementation would use them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from nacl.signing import SigningKey, VerifyKey

from protocols import block as blocks
from protocols import cbor, cose, merkle, receipt
from protocols.block import Parent
from protocols.certificate import QuorumConfig, check_certificate, quorum_size
from protocols.evidence import check_evidence, judge
from protocols.records import (
    KINDS,
    Evidence,
    Genesis,
    RecordError,
    account_id_of,
    chain_id,
    from_payload,
    genesis_faults,
    meter_id_of,
    read_as,
    to_payload,
)
from protocols.records.jsonform import from_json, to_json
from protocols.roll import Roll
from tests.protocols import vectors
from tests.protocols.keys import verify


def load(name: str) -> Any:
    return json.loads((vectors.FOLDER / name).read_text())


RECORDS = load("records.json")
CBOR = load("cbor.json")
AGREEMENT = load("agreement.json")
EVIDENCE = load("evidence.json")


def names(cases: list[dict[str, Any]]) -> list[str]:
    return [case["name"] for case in cases]


@pytest.mark.parametrize("name", sorted(vectors.all_files()))
def test_the_files_are_what_the_seeds_give(name: str) -> None:
    assert (vectors.FOLDER / name).read_text() == vectors.as_text(vectors.all_files()[name])


@pytest.mark.parametrize("case", RECORDS["good"], ids=names(RECORDS["good"]))
def test_good_records(case: dict[str, Any]) -> None:
    record = from_json(case["kind"], case["fields"])
    payload = bytes.fromhex(case["payload"])
    assert to_payload(record) == payload
    assert from_payload(payload) == record
    assert to_json(record) == case["fields"]
    if "envelope" in case:
        chain, public = bytes.fromhex(case["chain_id"]), bytes.fromhex(case["public_key"])
        envelope = cose.decode(bytes.fromhex(case["envelope"]))
        signed = bytes.fromhex(case["sig_structure"])
        assert envelope.payload == payload and envelope.to_be_signed(record.KIND, chain) == signed
        assert hashlib.sha256(signed).hexdigest() == case["record_id"]
        VerifyKey(public).verify(signed, envelope.signature)


def test_there_is_a_full_and_a_bare_vector_of_every_kind() -> None:
    wanted = {f"{struct.__name__}_{form}" for struct in KINDS.values() for form in ("full", "bare")}
    assert wanted <= set(names(RECORDS["good"]))


@pytest.mark.parametrize("case", RECORDS["bad"], ids=names(RECORDS["bad"]))
def test_bad_records(case: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        from_payload(bytes.fromhex(case["payload"]))
    assert case["error"] in str(caught.value)


@pytest.mark.parametrize("case", CBOR["good"], ids=names(CBOR["good"]))
def test_good_cbor(case: dict[str, Any]) -> None:
    value = case["value"]
    if isinstance(value, dict):
        value = {int(key): item for key, item in value.items()}
    assert cbor.encode(value).hex() == case["encoded"]
    assert cbor.decode(bytes.fromhex(case["encoded"])) == value


@pytest.mark.parametrize("case", CBOR["bad"], ids=names(CBOR["bad"]))
def test_bad_cbor(case: dict[str, Any]) -> None:
    with pytest.raises(cbor.CborError) as caught:
        cbor.decode(bytes.fromhex(case["encoded"]))
    assert case["error"] in str(caught.value)


@pytest.mark.parametrize("case", load("envelopes.json")["bad"], ids=names(load("envelopes.json")["bad"]))
def test_bad_envelopes(case: dict[str, Any]) -> None:
    with pytest.raises(cose.EnvelopeError) as caught:
        cose.decode(bytes.fromhex(case["envelope"]))
    assert case["error"] in str(caught.value)


@pytest.mark.parametrize("case", load("keys.json"), ids=names(load("keys.json")))
def test_keys(case: dict[str, Any]) -> None:
    public = SigningKey(bytes.fromhex(case["seed"])).verify_key.encode()
    assert public.hex() == case["public_key"]
    assert cose.key_id_of(public).hex() == case["key_id"]
    assert account_id_of(public).hex() == case["account_id"]
    assert meter_id_of(public).hex() == case["meter_id"]


@pytest.mark.parametrize("case", load("signatures.json"), ids=names(load("signatures.json")))
def test_all_nodes_judge_signatures_alike(case: dict[str, Any]) -> None:
    # A library that takes one of these for good would split the microgrid.
    public, message, signature = (bytes.fromhex(case[name]) for name in ("public_key", "message", "signature"))
    assert verify(public, message, signature) == case["holds"]


def test_merkle_trees() -> None:
    for tree in load("merkle.json"):
        leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in tree["leaves"]]
        root = bytes.fromhex(tree["root"])
        assert merkle.root(leaves) == root
        for index, path in enumerate(tree["paths"]):
            siblings = [bytes.fromhex(item) for item in path]
            assert merkle.verify_path(leaves[index], index, len(leaves), siblings, root)


def test_a_microgrid_from_its_vectors_alone() -> None:
    genesis = from_payload(bytes.fromhex(AGREEMENT["genesis_payload"]))
    assert isinstance(genesis, Genesis) and genesis_faults(genesis) == ()
    assert from_json("Genesis", AGREEMENT["genesis"]) == genesis
    chain = chain_id(genesis)
    quorum = QuorumConfig.of_genesis(genesis)
    assert chain.hex() == AGREEMENT["chain_id"] and quorum.config_hash().hex() == AGREEMENT["quorum_config_hash"]
    parent = Parent.of_genesis(genesis, chain)
    for vector in AGREEMENT["blocks"]:
        block = blocks.read(bytes.fromhex(vector["encoded"]), chain)
        blocks.check_form(block, parent, quorum, genesis, chain, verify)
        assert to_json(block.header) == vector["header"] and block.block_hash.hex() == vector["block_hash"]
        assert (None if block.election is None else to_json(block.election)) == vector["election"]
        parent = Parent.of(block)
    certificate: Any = from_payload(bytes.fromhex(AGREEMENT["certificate_payload"]))
    assert to_json(certificate) == AGREEMENT["certificate"]
    assert certificate.block == parent.block_hash
    assert check_certificate(certificate, parent.term, quorum, chain, verify) is None
    verdict = receipt.check(receipt.decode(bytes.fromhex(AGREEMENT["receipt"])), genesis, verify)
    assert verdict.record_id.hex() == AGREEMENT["receipt_record_id"]
    assert (verdict.height, verdict.certified_height, verdict.member) == (1, 2, "bela")


def test_quorum_sizes() -> None:
    for mode, name in enumerate(("majority", "byzantine")):
        for voters, size in AGREEMENT["quorum_sizes"][name].items():
            assert quorum_size(int(voters), mode) == size


def test_accusations() -> None:
    genesis = read_as(Genesis, bytes.fromhex(EVIDENCE["genesis_payload"]))
    roll = Roll.of_genesis(genesis, chain_id(genesis))
    for case in EVIDENCE["proved"]:
        found = judge(read_as(Evidence, bytes.fromhex(case["payload"])), roll, verify)
        assert found.convicts == case["convicts"], case["name"]
    for case in EVIDENCE["not_proved"]:
        error = check_evidence(read_as(Evidence, bytes.fromhex(case["payload"])), roll, verify)
        assert case["error"] in (error or ""), case["name"]
