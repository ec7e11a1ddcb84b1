"""Ledgers and receipts on the command line: verified, shown, proved."""

import sqlite3
from pathlib import Path

import pytest

from tests.cli.shell import complaint, init, meshnode, spawn
from tests.ledger.chain import a_busy_morning

# --- ledgers and receipts


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node directory with the ledger of a busy morning."""
    directory = tmp_path_factory.mktemp("node")
    a_busy_morning().store(directory)
    return directory


def test_a_ledger_is_verified(ledger: Path) -> None:
    done = meshnode("ledger", "verify", ledger, "--json", "--state-at", 3)
    [chain] = done.json["chains"]
    assert done.code == 0 and done.json["ok"] is True and chain["bad"] is None
    assert chain["blocks"] == chain["final_height"] == 6
    machine = a_busy_morning().replay()
    for block in a_busy_morning().blocks[:3]:
        machine.apply(block)
    state = machine.state_hash()
    assert state is not None and done.json["state_at"] == state.hex() != chain["state_hash"]
    text = meshnode("ledger", "verify", ledger).out
    assert "everything holds" in text and f"state hash    {chain['state_hash']}" in text
    assert spawn("ledger", "verify", MESHNODE_DIR=str(ledger)).code == 0


def test_a_flipped_byte_is_found_and_named(tmp_path: Path) -> None:
    place = a_busy_morning().store(tmp_path)
    file = place / "genesis.cbor"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    done = meshnode("ledger", "verify", tmp_path)
    assert done.code == 1 and "bad: the genesis was altered" in done.out
    assert "copy genesis.cbor again" in done.out and "details: genesis: found SHA-256" in done.out
    assert meshnode("ledger", "verify", tmp_path, "--json").json["chains"][0]["bad"]["part"] == "genesis"


def test_there_is_no_ledger_here(tmp_path: Path) -> None:
    assert "no ledger here; expected the directory of a node" in complaint("ledger", "verify", tmp_path)


def test_a_block_is_shown(ledger: Path) -> None:
    block = meshnode("ledger", "show", 2, "--dir", ledger, "--json").json
    assert [record["kind"] for record in block["records"]] == ["Order", "Order", "Order", "AssetIssue"]
    text = meshnode("ledger", "show", 2, "--dir", ledger).out
    assert text.startswith("block 2 of Unterdorf\n") and "record 0: Order by anna (member key), accepted" in text
    assert complaint("ledger", "show", 99, "--dir", ledger, code=1).endswith("no block 99; it has 1 to 6")


def test_a_receipt_is_written_and_checked_with_the_genesis_alone(ledger: Path, tmp_path: Path) -> None:
    record = meshnode("ledger", "show", 2, "--dir", ledger, "--json").json["records"][2]
    file = tmp_path / "offer.receipt"
    done = meshnode("receipt", record["id"], "--out", file, "--dir", ledger)
    assert done.code == 0 and done.out == f"{file}: {file.stat().st_size} bytes\n"
    [genesis] = ledger.rglob("genesis.cbor")
    checked = meshnode("receipt", "check", file, "--genesis", genesis, "--json").json
    assert (checked["ok"], checked["record_id"], checked["height"]) == (True, record["id"], 2)
    assert checked["member"] == "carla" and checked["fields"] == record["fields"]
    assert ": holds\n" in meshnode("receipt", "check", file, "--dir", ledger).out

    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    said = complaint("receipt", "check", file, "--genesis", genesis, code=1)
    assert said.startswith(f"{file}: this receipt was altered or cut off") and "\n    details: " in said
    file.write_bytes(bytes(damaged[:-20]))
    assert "this receipt was altered or cut off" in complaint("receipt", "check", file, "--genesis", genesis, code=1)
    assert "not a receipt" in complaint("receipt", "check", __file__, "--genesis", genesis, code=1)
    assert "genesis" in complaint("receipt", "check", file, "--genesis", __file__)


def test_a_receipt_of_another_community_says_so(ledger: Path, tmp_path: Path) -> None:
    record = meshnode("ledger", "show", 2, "--dir", ledger, "--json").json["records"][2]
    file = tmp_path / "offer.receipt"
    assert meshnode("receipt", record["id"], "--out", file, "--dir", ledger).code == 0
    init(tmp_path / "other")
    said = complaint("receipt", "check", file, "--dir", tmp_path / "other", code=1)
    assert said.startswith(f"{file}: this receipt belongs to another community than Via Verdi\n    check it with")


def test_damage_says_what_to_do(tmp_path: Path) -> None:
    place = a_busy_morning().store(tmp_path)
    with sqlite3.connect(place / "ledger.sqlite") as db:
        db.execute("UPDATE log SET data = zeroblob(length(data)) WHERE height = 2")
    db.close()
    command = f"meshnode ledger refetch {tmp_path}"
    done = meshnode("ledger", "verify", tmp_path)
    assert done.code == 1 and "bad: this ledger is damaged or was altered at block 2\n" in done.out
    assert "start the node: it fetches what is damaged from its neighbours by itself; if it stays, " in done.out
    assert command in done.out and "details: height 2, log row: found checksum" in done.out
    for said in (complaint("ledger", "show", 2, "--dir", tmp_path), complaint("ledger", "show", 4, "--dir", tmp_path)):
        assert "block 2 cannot be read, this ledger is damaged" in said and command in said
    (place / "ledger.sqlite").unlink()
    assert complaint("ledger", "verify", tmp_path).endswith(command)


def test_the_state_after_a_height_is_told_or_said_to_be_unknown(ledger: Path) -> None:
    wanted = meshnode("ledger", "verify", ledger, "--state-at", 3, "--json").json["state_at"]
    done = meshnode("ledger", "verify", ledger, "--state-at", 3)
    assert done.code == 0 and f"state hash after height 3: {wanted}\n" in done.out
    beyond = meshnode("ledger", "verify", ledger, "--state-at", 500)
    assert beyond.code == 1 and "state hash after height 500: not known here, the final height is 6\n" in beyond.out


def test_receipts_of_what_is_not_there(ledger: Path) -> None:
    assert complaint("receipt", "deadbeef", "--dir", ledger).startswith("deadbeef: not a record id\n    it has 64 hex")
    assert "in no final block up to height 6" in complaint("receipt", "ab" * 32, "--dir", ledger, code=1)
