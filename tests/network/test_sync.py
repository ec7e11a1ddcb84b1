"""Sync: a node that does not vote gets the whole ledger, from anybody, and keeps up."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from meshnode.machine import PeriodClosed
from meshnode.network import sync as service
from meshnode.network.transport import peer_id_of
from protocols import sync
from protocols.sync import Chunk, RangeEnd
from tests.network.followers import PERIODS, Shelf, finished, grown, settle, small_ranges, stage
from tests.network.world import introduce, until
from tests.protocols.village import device


async def test_a_learner_gets_the_whole_ledger(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    async with stage(finished().village) as scene:
        server = await scene.server("anna", Shelf(disk))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.machine.state_hash() in finished().hashes()
        assert [entry.block.header.height for entry in emil.final] == list(range(1, disk.final + 1))
        assert sum(isinstance(event, PeriodClosed) for entry in emil.final for event in entry.events) == PERIODS
        assert {height: entry.data for height, entry in emil.shelf.log.items()} == {
            height: disk.log[height].data for height in range(1, disk.final + 1)
        }
        assert emil.follower.newest_certificate is not None
        assert emil.shelf.certificate_below(disk.final) is not None
        assert server.counters["blocks: served"] == disk.final
        assert emil.follower.learner.take_final() == []


async def test_a_learner_serves_the_next_learner(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(disk))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
    async with stage(finished().village) as scene:
        server = await scene.server("emil", emil.shelf)
        fritz = await scene.learner("fritz")
        await until(lambda: fritz.follower.final_height == disk.final)
        assert fritz.machine.state_hash() == emil.machine.state_hash()
        assert server.counters["blocks: served"] == disk.final, "there was nobody else to ask"


async def test_new_blocks_are_followed_within_a_second(autojump_clock: MockClock) -> None:
    cluster = grown(1)
    async with stage(cluster.village) as scene:
        shelf = Shelf(cluster.disks["anna"])
        await scene.server("anna", shelf, announce=True)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == shelf.final)
        for period in range(1, 5):
            settle(cluster, period)
            cluster.run(5)
            shelf.__dict__.update(Shelf(cluster.disks["anna"]).__dict__)
            began = trio.current_time()
            await until(lambda: emil.follower.final_height == shelf.final)
            assert trio.current_time() - began < 1.0
            await trio.sleep(7)
        assert emil.machine.state_hash() in cluster.hashes()
        assert emil.follower.counters["blocks: learned"] == shelf.final


async def test_a_certificate_that_comes_after_its_block_is_announced_when_it_comes(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    shelf = Shelf(disk)
    newest = max(shelf.certificates)
    late = {height: shelf.certificates.pop(height) for height in list(shelf.certificates) if height > newest - 3}
    async with stage(finished().village) as scene:
        server = await scene.server("anna", shelf, announce=True)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == newest - 3)
        await trio.sleep(1)
        shelf.certificates.update(late)
        began = trio.current_time()
        await until(lambda: emil.follower.final_height == newest)
        assert trio.current_time() - began < 1.0
        await trio.sleep(3 * service.REPEAT_S)
        assert server.counters["heads announced"] in (4, 5), "repeated for those who missed it, and not more"


async def test_without_announcements_a_follower_asks_all_the_same(autojump_clock: MockClock) -> None:
    cluster = grown(1)
    async with stage(cluster.village) as scene:
        shelf = Shelf(cluster.disks["anna"])
        server = await scene.server("anna", shelf, announce=False)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == shelf.final)
        before = shelf.final
        settle(cluster, 1)
        shelf.__dict__.update(Shelf(cluster.disks["anna"]).__dict__)
        assert shelf.final > before
        await until(lambda: emil.follower.final_height == shelf.final)
        assert emil.machine.state_hash() in cluster.hashes()
        assert server.counters["heads announced"] == 0


async def test_a_node_that_was_away_goes_on_where_it_stopped(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    short = Shelf(disk)
    for height in range(9, disk.last_index() + 1):
        del short.log[height]
        short.certificates.pop(height, None)
    short.final = 8
    short.certificates[8] = short.certificates.get(8) or disk.certificates[8]
    async with stage(finished().village) as scene:
        server = await scene.server("anna", Shelf(disk))
        emil = await scene.learner(shelf=short)
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.machine.state_hash() in finished().hashes()
        assert server.counters["blocks: served"] == disk.final - 8


async def test_a_transfer_that_breaks_off_goes_on_at_another_peer(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_ranges(monkeypatch)
    monkeypatch.setattr(sync, "RANGE_BYTES", 10**6)
    monkeypatch.setattr(service, "SERVE_BYTES_PER_S", 2048)
    monkeypatch.setattr(service, "SERVE_BURST_BYTES", 256)
    sent: list[int] = []
    real = sync.Sending.next_message

    def noted(self: sync.Sending) -> Chunk | RangeEnd | None:
        message = real(self)
        if isinstance(message, Chunk):
            sent.append(len(message.data))
        return message

    monkeypatch.setattr(sync.Sending, "next_message", noted)
    disk = finished().disks["anna"]
    total = len(sync.join([entry.data for entry in disk.log.values()]))
    async with stage(finished().village) as scene:
        servers = {name: await scene.server(name, Shelf(disk)) for name in ("anna", "bela")}
        emil = await scene.learner()
        await until(lambda: sum(sent) > total // 2)
        for name in servers:
            scene.network.unlink(peer_id_of(device(name).public), emil.transport.peer_id)
        await trio.sleep(1)
        introduce(*scene.transports)
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.follower.counters["blocks: broken off"] == 1
        assert total <= sum(sent) <= total + sync.WINDOW_BYTES, "begun again instead of going on"


async def test_certificates_far_apart_are_bridged(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "RANGE_BYTES", 2048)
    disk = finished().disks["anna"]
    shelf = Shelf(disk)
    kept = max(shelf.certificates)
    shelf.certificates = {height: data for height, data in shelf.certificates.items() if height in (2, kept)}
    async with stage(finished().village) as scene:
        await scene.server("anna", shelf)
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == kept)
        assert sorted(emil.shelf.certificates) == [2, kept]


async def test_small_ranges_need_several_requests(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    small_ranges(monkeypatch)
    async with stage(finished().village) as scene:
        await scene.server("anna", Shelf(finished().disks["anna"]))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == finished().disks["anna"].final)
        assert len(emil.shelf.batches) >= 3
        assert all(batch.certificates for batch in emil.shelf.batches)


async def test_a_server_with_a_failing_disk_is_passed_over(autojump_clock: MockClock) -> None:
    disk = finished().disks["anna"]
    broken = Shelf(disk)
    broken.bad = {1}
    async with stage(finished().village) as scene:
        first = await scene.server("anna", broken, announce=True)
        await scene.server("bela", Shelf(disk))
        emil = await scene.learner()
        await until(lambda: emil.follower.final_height == disk.final)
        assert emil.transport.peers() == sorted(t.peer_id for t in scene.transports if t is not emil.transport)
        assert first.counters["blocks: served"] == 0
