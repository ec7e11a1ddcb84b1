"""A ledger that was lost: what of it rots is mended, all of it is fetched again, and the only validator must not."""

import sqlite3
import time
from pathlib import Path

from tests.cli.shell import PATIENCE_S, complaint, meshnode, running, spawn
from tests.cli.test_node import caught_up, found, join


def ledger_of(directory: Path) -> Path:
    [genesis] = directory.rglob("genesis.cbor")
    return genesis.with_name("ledger.sqlite")


def damage(file: Path) -> None:
    """One byte of an early block is another one."""
    with sqlite3.connect(file) as db:
        db.execute("UPDATE log SET data = zeroblob(length(data)) WHERE height = 1")
    db.close()


def spoil(file: Path) -> None:
    """The one row that everything else stands on is another one."""
    with sqlite3.connect(file) as db:
        db.execute("UPDATE standing SET final_height = final_height + 1")
    db.close()


def height_of(directory: Path) -> int:
    height: int = meshnode("status", "--dir", directory, "--json").json["height"]
    return height


def mended(directory: Path, height: int) -> None:
    """Wait until a node has all again; it does not answer for the moment in which it begins anew."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        said = meshnode("status", "--dir", directory, "--json")
        if said.code == 0 and said.json["height"] >= height and not said.json["notice"]:
            return
        assert time.monotonic() < deadline, said
        time.sleep(0.2)


def test_a_follower_fetches_its_ledger_again_and_a_record_outlives_a_quiet_validator(tmp_path: Path) -> None:
    anna, bela = tmp_path / "anna", tmp_path / "bela"
    found(anna)
    command = f"meshnode ledger refetch {bela}"
    with running(anna):
        assert join(meshnode("invite", anna).out.strip(), bela, "bela").code == 0
        assert meshnode("asset", "issue", "SUN", "--cap", 9, "--amount", 9, "--dir", anna).code == 0
        give = ("transfer", "--asset", "SUN", "--amount", 4)
        assert meshnode(*give, "--to", "bela", "--dir", anna, "--wait", 30).code == 0
        with running(bela):
            caught_up(bela, height_of(anna))
            assert "in use by another process" in complaint("ledger", "refetch", bela)

        # What is lost in part, the node mends by itself.
        damage(ledger_of(bela))
        with running(bela):
            mended(bela, height_of(anna))
        assert meshnode("ledger", "verify", bela).code == 0

        spoil(ledger_of(bela))
        said = complaint("run", bela, run=spawn)
        assert "what this node signed last is lost" in said and said.endswith(command)
        done = meshnode("ledger", "refetch", bela, "--json")
        assert done.code == 0, done
        aside = Path(done.json["set_aside"])
        assert aside.parent == ledger_of(bela).parent and aside.name.startswith("set-aside-2")
        assert {"ledger.sqlite", "views.sqlite"} <= {path.name for path in aside.iterdir()}
        with running(bela):
            caught_up(bela, height_of(anna))

        # Nothing left at all is no other case.
        for file in ledger_of(bela).parent.glob("ledger.sqlite*"):
            file.unlink()
        assert complaint("run", bela, run=spawn).endswith(command)
        assert "the ledger is empty now" in meshnode("ledger", "refetch", bela).out
        with running(bela):
            caught_up(bela, height_of(anna))
    with running(bela):
        # Nobody votes now: what Bela asks for is neither taken nor refused.
        quiet = meshnode(*give, "--to", "anna", "--dir", bela, "--wait", 1, "--json")
        assert quiet.code == 3, quiet
        assert (quiet.json["accepted"], quiet.json["status"]) == (None, "unknown")
        record = quiet.json["record_id"]
        assert meshnode("record", record, "--dir", bela).code == 3
        with running(anna):
            deadline = time.monotonic() + PATIENCE_S
            while (late := meshnode("record", record, "--wait", 30, "--dir", bela, "--json")).code == 3:
                assert time.monotonic() < deadline
            assert (late.code, late.json["accepted"]) == (0, True), late
    verified = meshnode("ledger", "verify", bela, "--json")
    assert verified.code == 0 and verified.json["chains"][0]["final_height"] >= late.json["height"]


def test_a_validator_must_not_begin_an_empty_ledger(tmp_path: Path) -> None:
    found(tmp_path / "anna")
    file = ledger_of(tmp_path / "anna")
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    said = complaint("ledger", "refetch", tmp_path / "anna")
    assert "this node is the only one that votes in its microgrid" in said and "could sign twice" in said
    assert "made while the node was stopped" in said
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before
