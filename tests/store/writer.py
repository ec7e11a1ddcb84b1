"""Writer: a process that persists blocks one after another until it is stopped, and says what it has persisted.

python -m tests.store.writer DIRECTORY [--file-limit BYTES]
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from meshnode.store import Batch, Store, StoreError
from protocols import block as blocks
from protocols.records import to_payload
from tests.store.log import CHAIN, VILLAGE, acked, entry, make_blocks

# A killing test stops it long before; without one it must end too.
MAX_BLOCKS = 2000


def main(directory: Path, file_limit: int | None) -> None:
    """Write, and print each height once it is on disk and final."""
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    with Store.open(directory, CHAIN) as store:
        last = store.last_index()
        log = [blocks.read(store.entry(last).data, CHAIN)] if last else []
        for _ in range(MAX_BLOCKS):
            block = make_blocks(1, after=log[-1:])[0]
            log.append(block)
            height = block.header.height
            store.persist(Batch(entries=(entry(block),), sign_state=acked(block, height)))
            # What a restart finds unfinished becomes final with the first block after it.
            missing = range(store.final_height() + 1, height + 1)
            certificates = tuple(
                (known, to_payload(VILLAGE.certificate(blocks.read(store.entry(known).data, CHAIN))))
                for known in missing
            )
            store.persist(Batch(certificates=certificates, final_height=height))
            print(height, flush=True)


if __name__ == "__main__":
    limit = int(sys.argv[3]) if len(sys.argv) == 4 else None
    try:
        main(Path(sys.argv[1]), limit)
    except StoreError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
