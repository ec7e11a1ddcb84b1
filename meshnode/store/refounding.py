"""Refounding: an empty ledger in the place of a lost or damaged one, which is set aside and kept.

Only for a node that does not vote. A validator's ledger also says what the node signed
last; with an empty one it could sign two blocks of one height, and its neighbours would
have two certified histories.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from meshnode.store.place import (
    DATABASE_FILE,
    Lock,
    StoreError,
    chain_of,
    check_genesis,
    microgrid_directory,
    read_genesis,
    sync_directory,
    was_validator,
)
from meshnode.store.store import found_database, why


def refound(directory: Path, chain_id: bytes, device_key: bytes, name: str, beside: Sequence[str] = ()) -> Path:
    """Begin the ledger of a microgrid again; the node then follows from height 1.

    Interrupted, it is simply done again: what was set aside stays where it is.

    Args:
        directory: the node's.
        device_key: the node's public key.
        name: of a new folder in the microgrid's directory, for the files that are set aside.
        beside: names of databases that were made from the ledger and go with it.
    Returns:
        The folder with the old files.
    Raises:
        StoreError: the node is a validator or runs, the genesis is not that of `chain_id`,
            or the disk refuses.
    """
    place = microgrid_directory(directory, chain_id)
    genesis_bytes = read_genesis(place)
    if chain_of(genesis_bytes) != chain_id:
        raise StoreError(
            f"{place}: the genesis here was altered or misplaced\n"
            "    copy genesis.cbor from another member of the community first"
        )
    founders = [entry.device_key for entry in check_genesis(genesis_bytes).validators]
    if device_key in founders or was_validator(place):
        raise _votes(directory, len(founders) == 1 and device_key in founders)
    aside = place / name
    try:
        lock = Lock(place)
        try:
            aside.mkdir(mode=0o700)
            for database in (DATABASE_FILE, *beside):
                for old in sorted(place.glob(f"{database}*")):
                    old.rename(aside / old.name)
            sync_directory(aside)
            found_database(place / DATABASE_FILE, chain_id)
            sync_directory(place)
        finally:
            lock.release()
    except OSError as error:
        raise StoreError(f"{place}: {error.strerror}; check the disk and the permissions") from error
    except sqlite3.Error as error:
        raise StoreError(f"{place}: {why(error)}") from error
    return aside


def _votes(directory: Path, alone: bool) -> StoreError:
    votes = "the only one that votes" if alone else "one of those that vote, or did"
    return StoreError(
        f"{directory}: this node is {votes} in its microgrid, so its ledger cannot "
        "be fetched again; nothing was changed\n"
        "    the lost ledger says what this node signed last; with an empty one it could sign twice for one height,\n"
        "    and the community could be split; it would need a new device key, which this version cannot give it\n"
        "    what remains:\n"
        "    - put back a copy of its directory that was made while the node was stopped, but only if the node has\n"
        "      not run since\n"
        "    - or join this home anew, with an invitation, in another directory and under another name; that node\n"
        "      has new keys and follows without voting"
    )
