"""Evidence on the command line: shown, checked with the genesis alone, and found by comparing two ledgers."""

import shutil
from pathlib import Path

import msgspec
import pytest

from meshnode.store import proofs
from protocols.evidence import Case, EvidenceKind
from protocols.records import CHANGE_ADD, Evidence, to_payload
from tests.cli.shell import complaint, meshnode
from tests.ledger.chain import Chain, member
from tests.protocols.village import device

LIE = "the node of bela voted for two candidates in term 3"


def told(chain: Chain) -> Evidence:
    """Bela's double vote, as evidence."""
    record = chain.evidence(
        EvidenceKind.VOTES, "bela", chain.vote("bela", 3, "carla"), chain.vote("bela", 3, "anna"), signer="anna"
    ).record
    assert isinstance(record, Evidence)
    return record


@pytest.fixture
def chain() -> Chain:
    chain = Chain()
    chain.block(chain.issue("anna"))
    return chain


def test_an_honest_ledger_accuses_nobody(chain: Chain, tmp_path: Path) -> None:
    chain.store(tmp_path)
    done = meshnode("evidence", "show", tmp_path)
    assert (done.code, done.out) == (0, "nobody was found out\n")
    assert meshnode("evidence", "show", tmp_path, "--json").json == {"found_out": []}


def test_who_was_found_out_is_shown_from_the_ledger_and_from_the_files_beside_it(chain: Chain, tmp_path: Path) -> None:
    place = chain.store(tmp_path / "file")
    evidence = told(chain)
    case = chain.machine.hear(evidence)
    assert isinstance(case, Case)
    path = proofs.keep(place, evidence, case)
    assert path is not None and proofs.keep(place, evidence, case) == path
    done = meshnode("evidence", "show", tmp_path / "file")
    assert done.code == 1 and f"found out: {LIE}\n    {path}" in done.out
    record = chain.sign(evidence, device("anna"))
    chain.block(record)
    chain.store(tmp_path / "ledger")
    [lie] = meshnode("evidence", "show", tmp_path / "ledger", "--json").json["found_out"]
    assert (lie["name"], lie["kind"], lie["term"], lie["status"]) == ("bela", "VOTES", 3, "proved")
    assert lie["source"] == record.record_id.hex()


def test_a_liar_who_joined_later_is_called_by_name_all_the_same(chain: Chain, tmp_path: Path) -> None:
    chain.block(chain.join(member("gina")))
    chain.block(chain.change(CHANGE_ADD, "gina"))
    chain.block()
    votes = (chain.vote("gina", 3, "carla"), chain.vote("gina", 3, "anna"))
    evidence = chain.evidence(EvidenceKind.VOTES, "gina", *votes, signer="anna")
    chain.block(evidence)
    place = chain.store(tmp_path)
    [lie] = meshnode("evidence", "show", tmp_path, "--json").json["found_out"]
    assert (lie["name"], lie["status"]) == ("gina", "proved")
    (place / "copy.evidence").write_bytes(to_payload(evidence.record))
    alone = meshnode("evidence", "check", place / "copy.evidence", "--dir", tmp_path)
    assert alone.code == 0 and device("gina").key_id.hex() in alone.out


def test_a_file_that_is_no_evidence_is_named(chain: Chain, tmp_path: Path) -> None:
    place = chain.store(tmp_path)
    evidence = told(chain)
    case = chain.machine.hear(evidence)
    assert case is not None
    path = proofs.keep(place, evidence, case)
    assert path is not None
    path.write_bytes(to_payload(msgspec.structs.replace(evidence, accused=device("anna").key_id)))
    assert complaint("evidence", "show", tmp_path).startswith(f"{path}: proves nothing")
    path.write_bytes(b"rot")
    assert complaint("evidence", "show", tmp_path).startswith(f"{path}: record:")


def test_evidence_is_checked_with_the_genesis_alone(chain: Chain, tmp_path: Path) -> None:
    place = chain.store(tmp_path)
    evidence = told(chain)
    genesis = tmp_path / "copy.cbor"
    shutil.copy(place / "genesis.cbor", genesis)
    file = tmp_path / "bela.evidence"
    for data in (to_payload(evidence), chain.sign(evidence, device("anna")).envelope_bytes):
        file.write_bytes(data)
        done = meshnode("evidence", "check", file, "--genesis", genesis)
        assert done.code == 0 and f"found out: {LIE}" in done.out
    found = meshnode("evidence", "check", file, "--dir", tmp_path, "--json").json
    assert found["ok"] is True and (found["name"], found["kind"]) == ("bela", "VOTES")
    innocent = msgspec.structs.replace(evidence, statements=evidence.statements[:1])
    file.write_bytes(to_payload(innocent))
    said = complaint("evidence", "check", file, "--genesis", genesis, code=1)
    assert said.startswith(f"{file}: proves nothing\n    details: statement 1 is missing")
    file.write_bytes(b"something else")
    assert complaint("evidence", "check", file, "--genesis", genesis).startswith(
        f"{file}: this is no evidence; expected"
    )
    other = Chain(community="Oberdorf")
    genesis.write_bytes(to_payload(other.genesis))
    file.write_bytes(to_payload(evidence))
    assert "does not hold" in complaint("evidence", "check", file, "--genesis", genesis, code=1)


def parted(tmp_path: Path) -> tuple[Path, Path]:
    """Two ledgers of one microgrid that part at height 3; anna led both sides, bela acknowledged both."""
    sides = []
    for name, homes in (("one", ("anna", "bela")), ("two", ("bela", "carla"))):
        chain = Chain()
        chain.block(chain.issue("anna"))
        chain.block()
        block = chain.block(time_s=chain.now_s + (5 if name == "one" else 6), certify=False)
        chain.certificates[3] = chain.village.certificate(block, homes)
        chain.store(tmp_path / name)
        sides.append(tmp_path / name)
    return sides[0], sides[1]


def test_two_ledgers_that_part_name_who_parted_them(tmp_path: Path) -> None:
    one, two = parted(tmp_path)
    done = meshnode("evidence", "compare", one, two, "--out", tmp_path / "out")
    assert done.code == 1 and "two histories: the ledgers part at block 3" in done.out
    assert "the node of anna signed two different blocks for height 3" in done.out
    assert "the node of bela acknowledged two histories" in done.out and "carla" not in done.out
    value = meshnode("evidence", "compare", two, one, "--json").json
    assert value["parted_at"] == 3 and {lie["name"] for lie in value["found_out"]} == {"anna", "bela"}
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 2
    for file in files:
        assert meshnode("evidence", "check", file, "--dir", one).code == 0


def test_a_ledger_that_is_only_behind_accuses_nobody(tmp_path: Path) -> None:
    one, two = Chain(), Chain()
    for chain in (one, two):
        chain.block(chain.issue("anna"))
        chain.block()
    two.block()
    two.elect("bela")
    two.block(certify=False)
    one.store(tmp_path / "one")
    two.store(tmp_path / "two")
    done = meshnode("evidence", "compare", tmp_path / "one", tmp_path / "two")
    assert (done.code, done.out.splitlines()) == (
        0,
        ["one history: wherever both have a final block it is the same", "nobody is convicted by what is here"],
    )
    assert meshnode("evidence", "compare", tmp_path / "one", tmp_path / "one", "--json").json["parted_at"] is None


def test_ledgers_of_two_communities_are_not_compared(chain: Chain, tmp_path: Path) -> None:
    chain.store(tmp_path / "one")
    other = Chain(community="Oberdorf")
    other.block()
    other.store(tmp_path / "two")
    assert "another microgrid" in complaint("evidence", "compare", tmp_path / "one", tmp_path / "two")
