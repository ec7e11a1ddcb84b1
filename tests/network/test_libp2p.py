"""The real transport over TCP on 127.0.0.1: restarts, lost peers, stopping, joining."""

import os
import signal
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

import meshnode.network.libp2p
from meshnode.network.libp2p import (
    JOINING_BURST,
    MAX_JOINING_CONNECTIONS,
    STOP_DEADLINE_S,
    Limits,
    ListenError,
    open_joining_listener,
    open_libp2p,
)
from meshnode.network.transport import DialError, Stream, StreamReset
from tests.network.world import (
    LOOPBACK,
    PATIENCE_S,
    TOPIC,
    assert_alive,
    echo,
    introduce,
    meet,
    peer,
    read_exactly,
    read_to_end,
    seed_of,
    settle,
    until,
)


async def test_gossip_reaches_those_who_are_not_neighbours() -> None:
    # anna - bela - carl - dora: each knows the address of the next only.
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(open_libp2p(seed_of(name), LOOPBACK, [TOPIC]))
            for name in ("anna", "bela", "carl", "dora")
        ]
        everybody = frozenset(node.peer_id for node in nodes)
        for one, following in zip(nodes, [*nodes[1:], None], strict=True):
            one.admit(everybody)
            if following is not None:
                one.add_address(following.peer_id, following.addresses)
        await until(lambda: [len(node.peers()) for node in nodes] == [1, 2, 2, 1])
        inbox = nodes[3].subscribe(TOPIC, 10)
        await settle(*nodes)
        await nodes[0].publish(TOPIC, b"hello from the other end")
        with trio.fail_after(PATIENCE_S):
            message = await inbox.receive()
        assert message.data == b"hello from the other end"
        assert message.peer == nodes[2].peer_id


async def test_a_restarted_node_is_reconnected_and_heard_again() -> None:
    async with open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna:
        inbox = anna.subscribe(TOPIC, 100)
        listen = LOOPBACK
        for life in range(3):
            async with open_libp2p(seed_of("bela"), listen, [TOPIC]) as bela:
                if life == 0:
                    introduce(anna, bela)
                    # The same port again, so that anna's knowledge stays true.
                    listen = [bela.addresses[0].rsplit("/p2p/", 1)[0]]
                else:
                    bela.admit(frozenset({anna.peer_id}))
                await meet(anna, bela)
                # The message numbers of a new life must not look like those of the last.
                for number in range(3):
                    await bela.publish(TOPIC, bytes([life, number]))
                with trio.fail_after(PATIENCE_S):
                    assert {(await inbox.receive()).data for _ in range(3)} == {
                        bytes([life, number]) for number in range(3)
                    }
            await until(lambda: anna.peers() == [])


async def test_a_stopped_process_leaves_within_seconds_and_returns_when_continued() -> None:
    limits = Limits(silence_limit_s=2.0)
    async with open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC], limits=limits) as anna:
        anna.admit(frozenset({peer("bela")}))
        inbox = anna.subscribe(TOPIC, 1000)
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.network.child", "bela", "anna", anna.addresses[0]],
            cwd=Path(__file__).parents[2],
        )
        try:
            with trio.fail_after(PATIENCE_S):
                assert (await inbox.receive()).data == b"bela is here"
            os.kill(child.pid, signal.SIGSTOP)
            await until(lambda: anna.peers() == [])
            assert anna.counters["connection cut: silent"] == 1

            os.kill(child.pid, signal.SIGCONT)
            await until(lambda: anna.peers() == [peer("bela")])

            # Killed, it leaves at once: the kernel closes its sockets, and no silence has to be waited for.
            child.kill()
            await until(lambda: anna.peers() == [])
            assert anna.counters["connection cut: silent"] == 1
        finally:
            child.kill()
            child.wait()


async def test_writing_to_a_stopped_process_ends_in_a_reset() -> None:
    limits = Limits(silence_limit_s=2.0)
    async with open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC], limits=limits) as anna:
        anna.admit(frozenset({peer("bela")}))
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.network.child", "bela", "anna", anna.addresses[0]],
            cwd=Path(__file__).parents[2],
        )
        try:
            await until(lambda: anna.peers() == [peer("bela")])
            stream = await anna.open_stream(peer("bela"), "/ipfs/ping/1.0.0")
            os.kill(child.pid, signal.SIGSTOP)
            with trio.fail_after(PATIENCE_S), pytest.raises(StreamReset):
                while True:
                    await stream.send_all(bytes(64 * 1024))
            with pytest.raises(DialError):
                await anna.open_stream(peer("bela"), "/ipfs/ping/1.0.0")
        finally:
            child.kill()
            child.wait()


async def test_stopping_under_traffic_is_clean_and_quick() -> None:
    async def chatter(node: meshnode.network.libp2p.Libp2pTransport) -> None:
        while True:
            await node.publish(TOPIC, bytes(1000))

    async def pour(stream: Stream) -> None:
        while True:
            await stream.send_all(bytes(10_000))

    async with (
        open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna,
        open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela,
        trio.open_nursery() as nursery,
    ):
        nodes = [anna, bela]
        for node in nodes:
            node.handle("/pour/1", pour, max_streams_per_peer=4)
        for _ in range(2):
            async with open_libp2p(seed_of("carl"), LOOPBACK, [TOPIC]) as carl:
                carl.handle("/pour/1", pour, max_streams_per_peer=4)
                introduce(carl, *nodes)
                await meet(carl, *nodes)
                reading = [await node.open_stream(carl.peer_id, "/pour/1") for node in nodes]
                reading += [await carl.open_stream(node.peer_id, "/pour/1") for node in nodes]
                ends: list[str] = []

                async def read(stream: Stream, ends: list[str] = ends) -> None:
                    try:
                        await read_to_end(stream)
                    except StreamReset:
                        ends.append("reset")

                for stream in reading:
                    nursery.start_soon(read, stream)
                async with trio.open_nursery() as talking:
                    for node in (carl, *nodes):
                        talking.start_soon(chatter, node)
                    await trio.sleep(0.5)
                    talking.cancel_scope.cancel()
                stopping_at = trio.current_time()
            assert trio.current_time() - stopping_at < STOP_DEADLINE_S, "nothing had to be left lying"
            await until(lambda ends=ends: ends == ["reset"] * 4)  # type: ignore[misc]
            await assert_alive(*nodes)
        nursery.cancel_scope.cancel()


async def test_reconnecting_for_ever_uses_up_nothing() -> None:
    # The library keeps the inbound slot of every connection there ever was.
    async with open_libp2p(seed_of("anna"), LOOPBACK) as anna:
        anna.admit(frozenset({peer("bela")}))
        at_rest = len(anna._swarm.manager._root_tasks)  # type: ignore[attr-defined]
        for _ in range(12):
            async with open_libp2p(seed_of("bela"), []) as bela:
                bela.admit(frozenset({anna.peer_id}))
                bela.add_address(anna.peer_id, anna.addresses)
                await meet(anna, bela)
            await until(lambda: anna.peers() == [])
        await until(lambda: anna._swarm.get_total_connections() == 0)
        tasks = anna._swarm.manager._root_tasks  # type: ignore[attr-defined]
        await until(lambda: len(tasks) <= at_rest)
        assert len(tasks) <= at_rest, "every life of bela's has left a task behind"


async def test_a_port_that_is_taken_is_said_plainly() -> None:
    async with open_libp2p(seed_of("anna"), LOOPBACK) as anna:
        taken = anna.addresses[0].rsplit("/p2p/", 1)[0]
        with pytest.raises(ListenError, match=f"cannot listen on {taken}: Address already in use; stop the"):
            async with open_libp2p(seed_of("bela"), [taken]):
                pass


@pytest.mark.parametrize("address", ["", "4001", "/ip4/0.0.0.0/udp/4001/quic-v1", "/ip4/999.0.0.1/tcp/1"])
async def test_an_address_to_listen_on_that_makes_no_sense_is_refused(address: str) -> None:
    with pytest.raises(ListenError, match=r"listening address .*; try /ip4/0.0.0.0/tcp/4001"):
        async with open_libp2p(seed_of("anna"), [address]):
            pass


async def test_addresses_of_peers_are_checked_when_they_are_given() -> None:
    async with open_libp2p(seed_of("anna"), ["/ip4/0.0.0.0/tcp/0"]) as anna:
        assert not any("0.0.0.0" in address for address in anna.addresses)
        with pytest.raises(ValueError, match="expected one like"):
            anna.add_address(peer("bela"), ["next door"])
        with pytest.raises(ValueError, match=f"names {peer('carl')}, not {peer('bela')}"):
            anna.add_address(peer("bela"), [f"/ip4/127.0.0.1/tcp/1/p2p/{peer('carl')}"])


async def test_a_silent_listener_does_not_hold_up_the_dialler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meshnode.network.libp2p, "DIAL_DEADLINE_S", 0.3)
    async with (
        open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna,
        open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela,
        trio.open_nursery() as nursery,
    ):
        # Somebody accepts and says nothing; behind it comes bela's real address.
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, _sleep, [listener])
        port = listener.socket.getsockname()[1]
        bela.admit(frozenset({anna.peer_id}))
        anna.admit(frozenset({bela.peer_id}))
        anna.add_address(bela.peer_id, [f"/ip4/127.0.0.1/tcp/{port}", *bela.addresses])
        await meet(anna, bela)
        assert anna.counters["dial failed"] == 1
        nursery.cancel_scope.cancel()


async def test_another_node_at_a_known_address_is_not_taken_for_the_peer() -> None:
    async with (
        open_libp2p(seed_of("anna"), LOOPBACK) as anna,
        open_libp2p(seed_of("carl"), LOOPBACK) as carl,
    ):
        carl.admit(frozenset({anna.peer_id}))
        anna.admit(frozenset({peer("bela"), carl.peer_id}))
        anna.add_address(peer("bela"), [carl.addresses[0].rsplit("/p2p/", 1)[0]])
        await until(lambda: anna.counters["dial failed"] >= 1)
        assert peer("bela") not in anna.peers()


async def test_identify_and_ping_are_answered() -> None:
    async with (
        open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna,
        open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela,
    ):
        from libp2p.identity.identify.pb.identify_pb2 import Identify

        introduce(anna, bela)
        await meet(anna, bela)
        stream = await anna.open_stream(bela.peer_id, "/ipfs/id/1.0.0")
        answer = await read_to_end(stream)
        identity = Identify.FromString(answer[2:] if answer[0] >= 0x80 else answer[1:])
        assert "/meshsub/1.1.0" in identity.protocols
        assert identity.agent_version == "meshnode"

        stream = await anna.open_stream(bela.peer_id, "/ipfs/ping/1.0.0")
        for number in range(3):
            await stream.send_all(bytes([number]) * 32)
            assert await read_exactly(stream, 32) == bytes([number]) * 32


async def test_a_node_that_is_cancelled_ends_at_once() -> None:
    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        async with open_libp2p(seed_of("anna"), LOOPBACK, [TOPIC]) as anna:
            introduce(anna, bela)
            await meet(anna, bela)
            task_status.started()
            await trio.sleep_forever()

    async with open_libp2p(seed_of("bela"), LOOPBACK, [TOPIC]) as bela:
        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            began = trio.current_time()
            nursery.cancel_scope.cancel()
        assert trio.current_time() - began < STOP_DEADLINE_S, "nothing had to be left lying"
        await until(lambda: bela.peers() == [])


async def test_the_joining_door_admits_anybody_for_one_protocol_only() -> None:
    async def greet(stream: Stream) -> None:
        name = await stream.receive_some(100)
        await stream.send_all(b"welcome, " + name)

    async with (
        open_joining_listener(seed_of("anna"), LOOPBACK, "/join/1", greet) as door,
        open_libp2p(seed_of("newcomer"), []) as newcomer,
    ):
        newcomer.admit(frozenset({door.peer_id}))
        newcomer.add_address(door.peer_id, door.addresses)
        await until(lambda: newcomer.peers() == [door.peer_id])
        stream = await newcomer.open_stream(door.peer_id, "/join/1")
        await stream.send_all(b"zora")
        assert await read_to_end(stream) == b"welcome, zora"
        for protocol in ("/meshsub/1.1.0", "/raft/1"):
            with pytest.raises(DialError, match="supports none of"):
                await newcomer.open_stream(door.peer_id, protocol)


async def test_the_joining_door_lets_nobody_linger() -> None:
    async with (
        open_joining_listener(seed_of("anna"), LOOPBACK, "/join/1", echo, lifetime_s=0.3) as door,
        open_libp2p(seed_of("newcomer"), []) as newcomer,
    ):
        newcomer.admit(frozenset({door.peer_id}))
        newcomer.add_address(door.peer_id, door.addresses)
        await until(lambda: newcomer.peers() == [door.peer_id])
        await until(lambda: newcomer.peers() == [])
        assert door.counters["connection cut: took too long"] == 1
        assert door.counters["refused inbound: no room"] == 0


async def test_the_joining_door_is_neither_crowded_nor_rushed() -> None:
    async with open_joining_listener(seed_of("anna"), LOOPBACK, "/join/1", echo) as door:
        port = int(door.addresses[0].split("/")[4])
        async with AsyncExitStack() as stack:
            for number in range(MAX_JOINING_CONNECTIONS):
                crowd = await stack.enter_async_context(open_libp2p(seed_of(f"crowd {number}"), []))
                crowd.admit(frozenset({door.peer_id}))
                crowd.add_address(door.peer_id, door.addresses)
                await until(lambda node=crowd: node.peers() == [door.peer_id])  # type: ignore[misc]
            assert door.counters["refused inbound: no room"] == 0, "all who fit were let in"
            await _knock(port)
            await until(lambda: door.counters["refused inbound: no room"] > 0)
            assert door.counters["refused inbound: no room"] == 1
        await until(lambda: door._swarm.get_total_connections() == 0)
        assert door.counters["refused inbound: too many in a short time"] == 0
        for _ in range(JOINING_BURST + 1):
            await _knock(port)
        await until(lambda: door.counters["refused inbound: too many in a short time"] > 0)


async def test_who_is_still_shaking_hands_at_the_joining_door_takes_a_place() -> None:
    async with (
        open_joining_listener(seed_of("anna"), LOOPBACK, "/join/1", echo) as door,
        AsyncExitStack() as stack,
    ):
        port = int(door.addresses[0].split("/")[4])
        for _ in range(MAX_JOINING_CONNECTIONS):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        await _knock(port)
        await until(lambda: door.counters["refused inbound: no room"] == 1)


async def _knock(port: int) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.aclose()


async def _sleep(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()
