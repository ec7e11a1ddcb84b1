"""Vectors: protocols/vectors/*.json, made from fixed seeds.

    python -m tests.protocols.vectors     write them anew

An implementation in another language reads the files; the tests here read them as well
and compare them with what this module makes. They change only when the format does.
"""

from __future__ import annotations

import json
import pathlib
import random
from typing import Any

import cbor2

from protocols import block as blocks
from protocols import cbor, cose, freshness, gossip, merkle, receipt, sync
from protocols.block import Parent
from protocols.certificate import quorum_size
from protocols.evidence import CONVICTING
from protocols.parcel import Parcel
from protocols.records import (
    Certificate,
    Election,
    Genesis,
    Join,
    OpenCounters,
    Reading,
    Receipt,
    account_id_of,
    join_request_bytes,
    meter_id_of,
    to_payload,
)
from protocols.records.jsonform import to_json
from protocols.signatures import Signatures, SignaturesRequest
from tests.protocols import cases, generate
from tests.protocols.keys import KeyPair, key_pair, seed_of
from tests.protocols.village import START_S, Village, meter

FOLDER = pathlib.Path(blocks.__file__).parent / "vectors"
# Messages between two nodes over a connection that has proved both ends.
MESSAGES = (
    *(Parcel, SignaturesRequest, Signatures),
    *(*gossip.MESSAGES.values(), *sync.TO_SERVER.values(), *sync.TO_CLIENT.values()),
    *(freshness.HeightRequest, freshness.HeightAnswer),
)
UNSIGNED = (Genesis, Certificate, Election, Receipt, *MESSAGES)
SEED = 20


def all_files() -> dict[str, Any]:
    """File name -> content."""
    return {
        "records.json": {"good": good_records(), "bad": bad_records()},
        "cbor.json": {"good": good_cbor(), "bad": bad_cbor()},
        "envelopes.json": {"bad": bad_envelopes()},
        "keys.json": keys(),
        "signatures.json": signatures(),
        "merkle.json": merkle_trees(),
        "agreement.json": agreement(),
        "evidence.json": evidence(),
    }


def good_records() -> list[dict[str, Any]]:
    """Every kind with all optional fields, with none, and a reading as meters send it."""
    village, rng = Village(), random.Random(SEED)
    usual = Reading(
        meter=meter_id_of(meter("anna").public),
        period_start_s=START_S,
        values=OpenCounters(import_wh=12_345_678, export_wh=2_345_678, produced_wh=5_678_901, power_w=-1_234),
    )
    result = [_record("reading", usual, village.chain_id, meter("anna"))]
    for struct in generate.RECORDS:
        for form, optional in (("full", 1.1), ("bare", -1.0)):
            record = generate.record(struct, rng, optional)
            result.append(_record(f"{struct.__name__}_{form}", record, village.chain_id, key_pair("signer")))
    return result


def _record(name: str, record: Any, chain: bytes, key: KeyPair) -> dict[str, Any]:
    payload = to_payload(record)
    entry: dict[str, Any] = {
        "name": name,
        "kind": type(record).__name__,
        "fields": to_json(record),
        "payload": payload.hex(),
    }
    if isinstance(record, UNSIGNED):
        return entry
    envelope = cose.sign(record.KIND, chain, payload, key.public, key.sign)
    signed = envelope.to_be_signed(record.KIND, chain)
    return entry | {
        "chain_id": chain.hex(),
        "public_key": key.public.hex(),
        "sig_structure": signed.hex(),
        "envelope": envelope.encode().hex(),
        "record_id": cose.record_id(signed).hex(),
    }


def bad_records() -> list[dict[str, str]]:
    """Payloads that every implementation must refuse, with a word of this one's error."""
    order = {0: 5, 1: 7, 2: START_S, 3: 1, 4: START_S, 5: 500, 6: 240_000}
    reading = {0: 4, 1: bytes(8), 2: START_S, 3: [0, {1: 10, 2: 20}]}
    member = {1: "anna", 2: ["consumer"], 3: bytes(32)}
    join = {0: 2, 1: 1, 2: START_S, 3: member, 4: bytes(16), 5: bytes(64)}
    support = {0: 11, 1: 1, 2: START_S, 3: 1, 4: [["a", 1], ["b", 1]]}
    cases: list[tuple[str, Any, str]] = [
        ("not a map", [0, 5], "expected a map with the kind"),
        ("kind missing", {1: 7}, "expected a map with the kind"),
        ("kind not an integer", {0: True}, "expected a map with the kind"),
        ("kind unknown", {0: 9999}, "unknown to this version"),
        ("field missing", {k: v for k, v in order.items() if k != 6}, "price_u_kwh: missing"),
        ("key unknown", order | {99: 1}, "unknown keys [99]"),
        ("text for an integer", order | {5: "500"}, "expected an integer"),
        ("boolean for an integer", order | {3: False}, "expected an integer"),
        ("a side that is none", order | {3: 0}, "side: found 0, expected 1 to 2"),
        ("energy of zero", order | {5: 0}, "found 0, expected 1 to"),
        ("energy over the limit", order | {5: 10_000_001}, "expected 1 to 10000000"),
        ("time after the year 9999", order | {2: 253_402_300_800}, "valid_until_s"),
        ("meter id too short", reading | {1: bytes(7)}, "found 7 bytes, expected 8"),
        ("meter id too long", reading | {1: bytes(9)}, "found 9 bytes, expected 8"),
        ("default written out", reading | {4: 0}, "the default 0 must be left out"),
        ("null for an optional field", reading | {3: [0, {1: 10, 2: 20, 4: None}]}, "found NoneType"),
        ("union tag unknown", reading | {3: [1, {1: 10, 2: 20}]}, "tag 1 is not supported here"),
        ("union without values", reading | {3: [0]}, "expected [tag, values]"),
        ("unknown key inside", reading | {3: [0, {1: 10, 2: 20, 77: 1}]}, "unknown keys [77]"),
        ("counter below zero", reading | {3: [0, {1: -1, 2: 20}]}, "found -1"),
        ("four phases", reading | {3: [0, {1: 1, 2: 2, 11: [1, 2, 3, 4]}]}, "expected 1 to 3"),
        ("roles not sorted", join | {3: member | {2: ["producer", "consumer"]}}, "items must ascend"),
        ("role twice", join | {3: member | {2: ["consumer", "consumer"]}}, "items must ascend"),
        ("rows not sorted", support | {4: [["b", 1], ["a", 1]]}, "items must ascend"),
        ("row too short", support | {4: [["a"]]}, "expected a row of name, version"),
        ("empty name", join | {3: member | {1: ""}}, "expected 1 to 48"),
        ("space at the end of a name", join | {3: member | {1: "anna "}}, "no spaces at its ends"),
        ("two spaces in a name", join | {3: member | {1: "an  na"}}, "no two in a row"),
        ("combining accent in a name", join | {3: member | {1: "e\u0301va"}}, "U+0301"),
        ("direction mark in a name", join | {3: member | {1: "anna\u202e"}}, "U+202E"),
        ("no-break space in a name", join | {3: member | {1: "an\u00a0na"}}, "U+00A0"),
    ]
    return [{"name": name, "payload": cbor.encode(value).hex(), "error": error} for name, value, error in cases]


def good_cbor() -> list[dict[str, Any]]:
    """Values and their one encoding."""
    values: list[Any] = [
        *(0, 1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1),
        *(-1, -24, -25, -256, -257, -(2**63)),
        *(True, False, None, "", "Grüße", [], [1, [2, []]], {}, {0: 1, 23: 2, 24: 3, 256: 4}),
    ]
    result = [{"name": f"value {number}", "value": value} for number, value in enumerate(values)]
    for entry in result:
        entry["encoded"] = cbor.encode(entry["value"]).hex()
        if isinstance(entry["value"], dict):
            entry["value"] = {str(key): item for key, item in entry["value"].items()}
    return result


def bad_cbor() -> list[dict[str, str]]:
    """Byte strings that are CBOR or nearly, but not deterministic or not of this format."""
    deep = b"\x81" * (cbor.MAX_DEPTH + 1) + b"\x00"
    cases = [
        ("empty", b"", "not CBOR"),
        ("cut short", bytes.fromhex("1a0001"), "not CBOR"),
        ("trailing byte", bytes.fromhex("0000"), ""),
        ("integer in two bytes", bytes.fromhex("1817"), "not the deterministic encoding"),
        ("integer in three bytes", bytes.fromhex("190018"), "not the deterministic encoding"),
        ("integer in nine bytes", bytes.fromhex("1b0000000000000001"), "not the deterministic encoding"),
        ("length in two bytes", bytes.fromhex("580161"), "not the deterministic encoding"),
        ("integer of 2^63", bytes.fromhex("1b8000000000000000"), "64 bits with sign"),
        ("integer of -2^63 - 1", bytes.fromhex("3b8000000000000000"), "64 bits with sign"),
        ("big number", bytes.fromhex("c249010000000000000000"), "tag"),
        ("indefinite bytes", bytes.fromhex("5f4101ff"), "not CBOR"),
        ("indefinite text", bytes.fromhex("7f6161ff"), "not CBOR"),
        ("indefinite array", bytes.fromhex("9f00ff"), "not CBOR"),
        ("indefinite map", bytes.fromhex("bf0000ff"), "not CBOR"),
        ("break alone", bytes.fromhex("ff"), ""),
        ("duplicate key", bytes.fromhex("a200000001"), "not CBOR"),
        ("keys not sorted", bytes.fromhex("a201000000"), "not the deterministic encoding"),
        ("text key", bytes.fromhex("a1616100"), "map key"),
        ("negative key", bytes.fromhex("a12000"), "map key"),
        ("boolean key", bytes.fromhex("a1f500"), "map key"),
        ("key of 2^63", bytes.fromhex("a11b800000000000000000"), "map key"),
        ("half float", bytes.fromhex("f93c00"), "float"),
        ("float", bytes.fromhex("fa47c35000"), "float"),
        ("double", bytes.fromhex("fb3ff199999999999a"), "float"),
        ("not a number", bytes.fromhex("f97e00"), "float"),
        ("undefined", bytes.fromhex("f7"), "no such type"),
        ("simple value", bytes.fromhex("e0"), "no such type"),
        ("simple value in two bytes", bytes.fromhex("f8ff"), "no such type"),
        ("false in two bytes", bytes.fromhex("f814"), ""),
        ("date", bytes.fromhex("c11a514b67b0"), "tag"),
        ("regular expression", bytes.fromhex("d8236161"), "tag"),
        ("shared value", bytes.fromhex("d81c80"), "tag"),
        ("self-described", bytes.fromhex("d9d9f700"), "tag"),
        ("unknown tag", bytes.fromhex("d9fffe00"), "no such type"),
        ("reserved length", bytes.fromhex("1c"), "not CBOR"),
        ("text that is not UTF-8", bytes.fromhex("61ff"), "not CBOR"),
        ("surrogate in text", bytes.fromhex("63eda080"), "not CBOR"),
        ("four gigabytes announced", bytes.fromhex("5b0000000100000000"), "not CBOR"),
        ("2^64 - 1 items announced", bytes.fromhex("9bffffffffffffffff"), "not CBOR"),
        ("nested too deep", deep, "nest"),
    ]
    return [{"name": name, "encoded": data.hex(), "error": error} for name, data, error in cases]


def bad_envelopes() -> list[dict[str, str]]:
    """Byte strings that other COSE libraries may accept, and that are no envelopes here."""
    village = Village()
    good = village.order()
    parts = cbor2.loads(good.envelope_bytes).value
    protected, payload, signature = parts[0], parts[2], parts[3]

    def tagged(*items: Any, tag: int = 18) -> bytes:
        return cbor2.dumps(cbor2.CBORTag(tag, list(items)))

    header = {1: -8, 4: good.key_id}
    cases = [
        ("no tag", good.envelope_bytes[1:], "tag 18"),
        ("another tag", tagged(protected, {}, payload, signature, tag=98), "tag 18"),
        ("tag in two bytes", b"\xd8\x12" + good.envelope_bytes[1:], "tag 18"),
        ("tag twice", b"\xd2" + good.envelope_bytes, "no such type"),
        ("trailing byte", good.envelope_bytes + b"\x00", ""),
        ("array of three", tagged(protected, {}, payload), "array of four"),
        ("array of five", tagged(protected, {}, payload, signature, b""), "array of four"),
        ("payload detached", tagged(protected, {}, None, signature), "byte strings"),
        ("unprotected header not empty", tagged(protected, {4: good.key_id}, payload, signature), "must be empty"),
        ("unprotected header an array", tagged(protected, [], payload, signature), "must be empty"),
        ("protected header empty", tagged(b"", {}, payload, signature), "envelope"),
        ("protected header not encoded", tagged(header, {}, payload, signature), "byte strings"),
        ("algorithm ES256", tagged(cbor2.dumps({1: -7, 4: good.key_id}), {}, payload, signature), "EdDSA"),
        ("no key id", tagged(cbor2.dumps({1: -8}), {}, payload, signature), "EdDSA"),
        ("a third header", tagged(cbor2.dumps(header | {5: b"iv"}), {}, payload, signature), "EdDSA"),
        ("headers not sorted", tagged(cbor2.dumps({4: good.key_id, 1: -8}), {}, payload, signature), "deterministic"),
        ("short key id", tagged(cbor2.dumps({1: -8, 4: good.key_id[:7]}), {}, payload, signature), "8 bytes"),
        ("text key id", tagged(cbor2.dumps({1: -8, 4: "annaanna"}), {}, payload, signature), "8 bytes"),
        ("short signature", tagged(protected, {}, payload, signature[:63]), "63 bytes"),
        ("long signature", tagged(protected, {}, payload, signature + b"\x00"), "65 bytes"),
    ]
    return [{"name": name, "envelope": data.hex(), "error": error} for name, data, error in cases]


def keys() -> list[dict[str, str]]:
    """Ed25519 seeds, public keys and the ids made from them."""
    result = []
    for name in ("anna", "anna device", "anna meter", "signer"):
        public = key_pair(name).public
        result.append(
            {
                "name": name,
                "seed": seed_of(name).hex(),
                "public_key": public.hex(),
                "key_id": cose.key_id_of(public).hex(),
                "account_id": account_id_of(public).hex(),
                "meter_id": meter_id_of(public).hex(),
            }
        )
    return result


def signatures() -> list[dict[str, Any]]:
    """Signatures at the edges of Ed25519, on which libraries differ: all nodes must judge alike."""
    cases = [
        (
            "valid",
            "62f20daad7d34d66b150b391d983e6206cbae71d59d5d7f66afefed6a267b9c9",
            "6c6564676572",
            "ebb461fc478e621995733443d2446eac22c76ee2034b3b4b8f3c4cd761b305ff"
            "3d650143b3fd257352d72048a2b868b0c6c5e9d800887ca2a32cd2a96bdf2f0a",
            True,
        ),
        (
            "S plus the group order",
            "62f20daad7d34d66b150b391d983e6206cbae71d59d5d7f66afefed6a267b9c9",
            "6c6564676572",
            "ebb461fc478e621995733443d2446eac22c76ee2034b3b4b8f3c4cd761b305ff"
            "2a39f79fcd6038cb287418eb80b247c5c6c5e9d800887ca2a32cd2a96bdf2f1a",
            False,
        ),
        (
            "small-order part in R: holds only with the cofactor",
            "62f20daad7d34d66b150b391d983e6206cbae71d59d5d7f66afefed6a267b9c9",
            "6c6564676572",
            "fa14f9501d3508f235b3ddc4b73591cdfd55e56f2dcfa80417f800881e11914c"
            "f713823f96acef4ed508f13d4d5773613d549a7b9c7a60f1aca4d1c5f2022d0d",
            False,
        ),
        (
            "public key of small order",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "6c6564676572",
            "0100000000000000000000000000000000000000000000000000000000000000"
            "0000000000000000000000000000000000000000000000000000000000000000",
            False,
        ),
        (
            "R of small order",
            "62f20daad7d34d66b150b391d983e6206cbae71d59d5d7f66afefed6a267b9c9",
            "6c6564676572",
            "0100000000000000000000000000000000000000000000000000000000000000"
            "f2eb429afb3529f6b6a78ab10de9aa86c6a8ea603ffb8d32cc70b992e0f54f0d",
            False,
        ),
        (
            "public key not canonically encoded",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "6c6564676572",
            "ebb461fc478e621995733443d2446eac22c76ee2034b3b4b8f3c4cd761b305ff"
            "666626ff114a3ee30dfdd42d31807b2ac64863278fae6c27e17ce9e30b6ccb09",
            False,
        ),
        (
            "public key with a small-order part, whose effect vanishes",
            "412360d98b990e1b56eac91b4e81c5a26148355aba67f89bad3b61bf3801469c",
            "6c65646765722036",
            "ebb461fc478e621995733443d2446eac22c76ee2034b3b4b8f3c4cd761b305ff"
            "da4f6b02bb4bb2c4057d10c82e148d1c5867cea69254b9b1d6044bede5d66b00",
            True,
        ),
        (
            "public key with a small-order part: holds only with the cofactor",
            "412360d98b990e1b56eac91b4e81c5a26148355aba67f89bad3b61bf3801469c",
            "6c6564676572203130",
            "ebb461fc478e621995733443d2446eac22c76ee2034b3b4b8f3c4cd761b305ff"
            "3a25983b9b08707d418b5536b80deac4b9b6cab862dfd1bb606a2ea85545a90a",
            False,
        ),
    ]
    names = ("name", "public_key", "message", "signature", "holds")
    return [dict(zip(names, case, strict=True)) for case in cases]


def merkle_trees() -> list[dict[str, Any]]:
    """Trees of the leaves 00, 01, ... with all their paths."""
    result = []
    for count in (0, 1, 2, 3, 4, 5, 7, 8, 11):
        leaves = [merkle.leaf_hash(bytes([number])) for number in range(count)]
        result.append(
            {
                "leaves": [bytes([number]).hex() for number in range(count)],
                "root": merkle.root(leaves).hex(),
                "paths": [[item.hex() for item in merkle.path(leaves, index)] for index in range(count)],
            }
        )
    return result


def agreement() -> dict[str, Any]:
    """One microgrid: genesis, two blocks in two terms, their elections, a certificate, a receipt, a join request."""
    village = Village()
    records = [village.reading("anna"), village.reading("bela"), village.order("carla")]
    first = village.block(records=records)
    parent = Parent.of(first)
    second = village.block(
        parent, leader="bela", term=3, election=village.election("bela", 3, parent, ("anna", "bela"))
    )
    certificate = village.certificate(second, ("anna", "carla"))
    proof = receipt.make(first, records[1].record_id, [second.header_envelope.encode()], certificate)
    newcomer = village.genesis.members[0]
    return {
        "genesis": to_json(village.genesis),
        "genesis_payload": to_payload(village.genesis).hex(),
        "chain_id": village.chain_id.hex(),
        "quorum_config_hash": village.quorum.config_hash().hex(),
        "quorum_sizes": {
            name: {str(n): quorum_size(n, mode) for n in range(1, 11)}
            for mode, name in enumerate(("majority", "byzantine"))
        },
        "blocks": [
            {
                "header": to_json(item.header),
                "election": None if item.election is None else to_json(item.election),
                "block_hash": item.block_hash.hex(),
                "encoded": item.encoded.hex(),
            }
            for item in (first, second)
        ],
        "certificate": to_json(certificate),
        "certificate_payload": to_payload(certificate).hex(),
        "receipt": receipt.encode(proof).hex(),
        "receipt_record_id": records[1].record_id.hex(),
        "join_request": join_request_bytes(village.chain_id, bytes(16), newcomer).hex(),
        "join_kind": Join.KIND,
    }


def evidence() -> dict[str, Any]:
    """Accusations that prove their case, and some that do not, with a word of this one's error."""
    return {
        "genesis_payload": to_payload(cases.VILLAGE.genesis).hex(),
        "proved": [
            {"name": name, "payload": to_payload(found).hex(), "convicts": found.evidence_kind in CONVICTING}
            for name, (found, _) in cases.all_cases().items()
        ],
        "not_proved": [
            {"name": name, "payload": to_payload(found).hex(), "error": error}
            for name, (found, error) in cases.honest_cases().items()
        ],
    }


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(exist_ok=True)
    for name, content in all_files().items():
        (FOLDER / name).write_text(as_text(content))
        print(f"{name} written")


def as_text(content: Any) -> str:
    """The text of a vector file."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
