"""Store: a microgrid's ledger on disk - the log of blocks, certificates, and what this node promised.

`Store` is the one writer, used by the running node; `LedgerReader` reads beside it.
No clock, no network and no rules of the ledger here: bytes in, the same bytes out.
"""

from meshnode.store.place import (
    Damage,
    DiskFull,
    StoreError,
    chain_of,
    microgrid_directory,
    microgrids,
    read_genesis,
)
from meshnode.store.reader import LedgerReader
from meshnode.store.rows import Batch, Entry, HardState, SignState, Standing
from meshnode.store.store import Store

__all__ = [
    "Batch",
    "Damage",
    "DiskFull",
    "Entry",
    "HardState",
    "LedgerReader",
    "SignState",
    "Standing",
    "Store",
    "StoreError",
    "chain_of",
    "microgrid_directory",
    "microgrids",
    "read_genesis",
]
