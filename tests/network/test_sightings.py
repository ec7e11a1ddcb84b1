"""Sightings: who is there, who is not, and how far each says that it is."""

from __future__ import annotations

import trio

from meshnode.network.sightings import ANSWER_DEADLINE_S, LOOK_S, Sightings
from protocols.records import Certificate, read_as
from tests.network.followers import Shelf, finished, stage
from tests.network.world import introduce, until
from tests.protocols.village import device


async def test_who_is_connected_is_there_and_says_how_far_it_is() -> None:
    cluster = finished()
    village = cluster.village
    async with stage(village) as world:
        shelf = Shelf(cluster.disks["anna"])
        await world.server("anna", shelf)
        looking = await world.transport("emil")
        introduce(*world.transports)
        await until(lambda: len(looking.peers()) == 1)
        now = [1000.0]
        signed: list[Certificate] = []
        sightings = Sightings(looking, village.chain_id, lambda: signed[0] if signed else None, lambda: now[0])
        anna, bela, carla = (device(home).public for home in ("anna", "bela", "carla"))
        await sightings.look()
        assert (sightings.absent_s(anna), sightings.height(anna)) == (0, shelf.final)
        assert sightings.height(bela) == -1
        # Whoever signed what has just become final is alive, connected or not.
        signed.append(read_as(Certificate, shelf.certificates[max(shelf.certificates)]))
        await sightings.look()
        signers = {key_id for key_id, _ in signed[0].signatures}
        for home, key in (("bela", bela), ("carla", carla)):
            assert (sightings.height(key) >= 0) == (device(home).key_id in signers)
        # The same certificate again says nothing new; Anna's computer is gone.
        await looking.drop(looking.peers()[0], "test")
        now[0] += 3600
        await sightings.look()
        assert sightings.absent_s(anna) == 3600


async def test_one_that_was_never_seen_is_gone_since_this_node_looks() -> None:
    cluster = finished()
    async with stage(cluster.village) as world:
        now = [500.0]
        alone = await world.transport("emil")
        sightings = Sightings(alone, cluster.village.chain_id, lambda: None, lambda: now[0])
        async with trio.open_nursery() as nursery:
            await nursery.start(sightings.run)
            nursery.cancel_scope.cancel()
        anna = device("anna").public
        now[0] += LOOK_S + ANSWER_DEADLINE_S
        assert sightings.absent_s(anna) == 0, "nobody is gone between two looks"
        now[0] += 1000
        assert sightings.absent_s(anna) == int(1000 + LOOK_S + ANSWER_DEADLINE_S)
