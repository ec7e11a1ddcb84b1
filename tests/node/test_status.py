"""Status: what a node refused, dropped or missed is shown to its owner, wherever it was counted."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import cast

import msgspec
import trio

from meshnode.config import PROFILES
from meshnode.keys import SignatureCheck, SigningKey
from meshnode.market.registry import installed_mechanisms
from meshnode.microgrid import Microgrid
from meshnode.network.framed import Framed
from meshnode.network.gossip import TOPICS, topic
from meshnode.network.licence import Licence
from meshnode.network.memory import MemoryTransport, open_memory_network
from meshnode.network.participation import Participation
from meshnode.network.sync import REQUESTS_BURST, protocol
from meshnode.news import UPDATES_PER_PAGE
from meshnode.outbox import Outbox
from meshnode.store import Store
from meshnode.views import Views
from meshnode.web.backend import Update
from protocols.records import to_payload
from protocols.sync import MAX_MESSAGE_BYTES, BlocksRequest
from tests.network.neighbours import machine_of, real_village
from tests.protocols.keys import seed_of

VILLAGE = real_village()
ANNA, BELA = (SigningKey(seed_of(f"{home} device")) for home in ("anna", "bela"))


@asynccontextmanager
async def annas_node(directory: Path) -> AsyncIterator[tuple[Microgrid, MemoryTransport]]:
    """Anna's part in the village, of which only the server of blocks runs, and Bela's transport."""
    Store.create(directory, to_payload(VILLAGE.genesis))
    topics = [topic(VILLAGE.chain_id, name) for name in TOPICS]
    async with (
        open_memory_network() as network,
        network.node(ANNA.public, topics) as transport,
        network.node(BELA.public, topics) as bela,
    ):
        for one, other in ((transport, bela), (bela, transport)):
            one.admit(frozenset({other.peer_id}))
            one.add_address(other.peer_id, other.addresses)
        with Store.open(directory, VILLAGE.chain_id) as store:
            views = Views.open(store.place, VILLAGE.genesis, store.final_height())
            outbox = Outbox.open(store.place, VILLAGE.chain_id)
            check = SignatureCheck()
            grid = Microgrid(
                "anna",
                store,
                views,
                outbox,
                machine_of(VILLAGE, check),
                check,
                transport,
                ANNA,
                SigningKey(seed_of("anna")),
                PROFILES["lan"],
                installed_mechanisms(),
                Random(1),
                lambda peers: None,
                lambda reason: None,
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(grid.blocks.run)
                yield grid, bela
                nursery.cancel_scope.cancel()
            outbox.close()
            views.close()


async def test_a_peer_that_asks_for_range_after_range_is_seen(tmp_path: Path) -> None:
    async with annas_node(tmp_path) as (grid, bela):
        with trio.fail_after(10):
            stream = await bela.open_stream(grid.status().peer_id, protocol(VILLAGE.chain_id))
            link = Framed(stream, MAX_MESSAGE_BYTES)
            # What trickles into the budget meanwhile is far less than it holds.
            await link.send(*[BlocksRequest(from_height=1)] * int(3 * REQUESTS_BURST))
            while not grid.status().counters.get("blocks: too many requests"):
                await trio.sleep(0.01)


async def test_what_a_page_missed_and_what_the_door_refused_is_seen(tmp_path: Path) -> None:
    async with annas_node(tmp_path) as (grid, bela):
        assert grid.status().counters == {}
        page = grid.subscribe()
        for height in range(UPDATES_PER_PAGE + 3):
            grid._news.tell(Update("block", {"height": height}))
        grid.door = bela
        bela.counters["refused inbound: no room"] += 2
        assert grid.status().counters == {"door: refused inbound: no room": 2, "page behind: update missed": 3}
        page.close()


async def test_an_own_record_that_the_disk_has_spoilt_is_seen(tmp_path: Path) -> None:
    async with annas_node(tmp_path) as (grid, _):
        outbox = grid._outbox
        outbox.add(VILLAGE.reading("anna"))
        with sqlite3.connect(outbox.path) as db:
            db.execute("UPDATE outbox SET envelope = x'00'")
        db.close()
        assert outbox.pending() == []
        assert grid.status().counters == {"outbox: damaged record dropped": 1}


async def test_a_leader_with_another_state_is_told_until_a_block_is_final_again(tmp_path: Path) -> None:
    async with annas_node(tmp_path) as (grid, _):
        voter = SimpleNamespace(licence=Licence(), disputed=None)
        grid.duty.attach(cast(Participation, SimpleNamespace(validator=voter)))
        assert grid.duty.notice == ""
        voter.disputed = "state after height 3: ours is ab, the leader cd signed ef"
        assert grid.duty.notice.startswith(f"the leader's blocks are not acknowledged: {voter.disputed}; ")
        state = grid.machine.state
        state.meta.put(0, msgspec.structs.replace(state.meta[0], height=state.meta[0].height + 1))
        assert grid.duty.notice == ""
        voter.disputed = "state after height 4: ours is ab, the leader cd signed ef"
        assert "after height 4" in grid.duty.notice
