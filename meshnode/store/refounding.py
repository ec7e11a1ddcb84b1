"""Refounding: an empty ledger, in a place where there is none, or in that of a lost or damaged one.

A validator's ledger also says what the node signed last; with an empty one it could sign
two blocks of one height, and its neighbours would have two certified histories. So its
device key is retired with the old ledger: it follows with a new one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from meshnode.store.database import found_database, why
from meshnode.store.place import (
    DATABASE_FILE,
    GENESIS_FILE,
    Lock,
    StoreError,
    chain_of,
    check_genesis,
    make_directory,
    microgrid_directory,
    read_genesis,
    sync_directory,
    was_validator,
    write_genesis,
)
from meshnode.store.reservation import changed
from meshnode.store.rows import first_standing
from meshnode.store.signfile import SignFile
from protocols.cose import key_id_of

# Why a device key whose ledger was set aside never signs again.
SET_ASIDE = "the ledger that says what it signed was lost and begun again"


def create(directory: Path, genesis_bytes: bytes) -> None:
    """Found the ledger of a microgrid in a node's directory; open it afterwards.

    A founding that was interrupted is done again from its beginning.

    Args:
        directory: the node's; the ledger goes to microgrids/<chain id>/ in it.
        genesis_bytes: canonical encoding of the genesis.
    Raises:
        StoreError: the genesis is not one, or the ledger is there already.
    """
    check_genesis(genesis_bytes)
    chain_id = chain_of(genesis_bytes)
    place = microgrid_directory(directory, chain_id)
    try:
        make_directory(place)
        lock = Lock(place)
        try:
            if (place / GENESIS_FILE).exists():
                raise StoreError(f"{place}: this microgrid has a ledger here already; nothing was changed")
            for unfinished in place.glob(DATABASE_FILE + "*"):
                unfinished.unlink()
            found_database(place / DATABASE_FILE, chain_id)
            write_genesis(place, genesis_bytes)
        finally:
            lock.release()
    except OSError as error:
        raise StoreError(f"{place}: {error.strerror}; check the disk and the permissions") from error
    except sqlite3.Error as error:
        raise StoreError(f"{place}: {why(error)}") from error


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
        StoreError: the node is the only validator or runs, the genesis is not that of `chain_id`,
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
    if founders == [device_key]:
        raise _refused(directory)
    aside = place / name
    try:
        lock = Lock(place)
        try:
            file = SignFile(place)
            key_id = key_id_of(device_key)
            has_signed = file.newest is not None and file.newest.key_id == key_id
            if device_key in founders or was_validator(place) or has_signed:
                never = first_standing(chain_id).sign_state
                file.write(changed(file.newest, key_id, b"", never, retired=SET_ASIDE))
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


def _refused(directory: Path) -> StoreError:
    return StoreError(
        f"{directory}: this node is the only one that votes in its microgrid, so its ledger cannot "
        "be fetched again; nothing was changed\n"
        "    the lost ledger says what this node signed last; with an empty one it could sign twice for one height,\n"
        "    and nobody else could take its place\n"
        "    what remains: put back a copy of its directory that was made while the node was stopped, but only if the\n"
        "    node has not run since"
    )
