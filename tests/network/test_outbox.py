"""Outbox: a node that is killed loses no reading of its own."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from meshnode.outbox import OUTBOX_FILE, Outbox, OutboxError
from tests.network.neighbours import PERIOD_S
from tests.protocols.village import START_S, Village

VILLAGE = Village(2)


def reading(period: int) -> object:
    return VILLAGE.reading("anna", period_start_s=START_S + period * PERIOD_S)


def test_what_is_added_is_there_after_a_restart_until_it_is_final(tmp_path: Path) -> None:
    records = [reading(1), VILLAGE.order("anna"), reading(2)]
    outbox = Outbox.open(tmp_path, VILLAGE.chain_id)
    for signed in records:
        assert outbox.add(signed) == ()
        assert outbox.add(signed) == ()
    outbox.close()
    outbox = Outbox.open(tmp_path, VILLAGE.chain_id)
    assert outbox.pending() == records
    outbox.final([records[0].record_id, b"unknown" * 4])
    assert outbox.pending() == records[1:]
    assert len(outbox) == 2
    outbox.close()


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    Outbox.open(tmp_path, VILLAGE.chain_id).close()
    assert stat.S_IMODE((tmp_path / OUTBOX_FILE).stat().st_mode) == 0o600


def test_at_its_bound_the_oldest_reading_makes_room_and_never_an_order(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, VILLAGE.chain_id, max_records=3)
    order = VILLAGE.order("anna")
    for signed in (order, reading(1), reading(2)):
        assert outbox.add(signed) == ()
    assert outbox.add(reading(3)) == (reading(1).record_id,)
    assert outbox.pending() == [order, reading(2), reading(3)]
    outbox.close()


def test_a_damaged_row_does_not_hold_up_the_others(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, VILLAGE.chain_id)
    for period in range(3):
        outbox.add(reading(period))
    outbox._db.execute("UPDATE outbox SET envelope = x'00' WHERE number = 2")
    assert outbox.pending() == [reading(0), reading(2)]
    assert outbox.damaged == 1
    assert len(outbox) == 2
    outbox.close()


def test_a_file_that_is_no_outbox_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / OUTBOX_FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(OutboxError, match=r"outbox\.sqlite: .*move the file away"):
        Outbox.open(tmp_path, VILLAGE.chain_id)


def test_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / OUTBOX_FILE)
    db.execute("PRAGMA user_version = 7")
    db.close()
    with pytest.raises(OutboxError, match="version 7, this node reads 1"):
        Outbox.open(tmp_path, VILLAGE.chain_id)


def test_a_disk_that_fails_is_told_to_the_caller(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path, VILLAGE.chain_id)
    outbox._db.execute("PRAGMA query_only = ON")
    with pytest.raises(OutboxError, match="nothing was promised"):
        outbox.add(reading(1))
    with pytest.raises(OutboxError):
        outbox.final([reading(1).record_id])
    outbox._db.execute("PRAGMA query_only = OFF")
    assert outbox.add(reading(1)) == ()
    outbox.close()


CHILD = """
import sys
from pathlib import Path
from meshnode.outbox import Outbox
from tests.network.test_outbox import VILLAGE, reading
outbox = Outbox.open(Path(sys.argv[1]), VILLAGE.chain_id)
for period in range(10_000):
    outbox.add(reading(period))
    print(period, flush=True)
"""


def test_a_process_that_is_killed_has_kept_all_it_said_it_has(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, env=environment
    ) as child:
        assert child.stdout is not None
        said = -1
        while said < 40:
            said = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        said = int((child.stdout.read().split(b"\n")[-2:-1] or [b"%d" % said])[0])
    outbox = Outbox.open(tmp_path, VILLAGE.chain_id)
    kept = outbox.pending()
    assert kept[: said + 1] == [reading(period) for period in range(said + 1)]
    assert len(kept) <= said + 2
    outbox.close()
