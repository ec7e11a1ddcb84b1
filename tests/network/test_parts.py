"""The parts without a network: peer ids, the gate, the bucket, the dialler, lines."""

import random
from collections.abc import Awaitable, Callable

import nacl.signing
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from meshnode.network import multistream
from meshnode.network.bucket import Bucket
from meshnode.network.dialler import LONGEST_DELAY_S, YIELD_S, Dialler
from meshnode.network.gate import MAX_REFUSED, Gate
from meshnode.network.transport import (
    Misbehaved,
    StreamReset,
    peer_id_from_bytes,
    peer_id_of,
    public_key_of,
    reason_to_drop,
)


@given(st.binary(min_size=32, max_size=32))
def test_a_peer_id_holds_its_public_key(public_key: bytes) -> None:
    peer_id = peer_id_of(public_key)
    assert peer_id.startswith("12D3KooW")
    assert len(peer_id) == 52
    assert public_key_of(peer_id) == public_key


def test_peer_ids_are_those_of_libp2p() -> None:
    from meshnode.network import lean  # noqa: F401  (before the first libp2p import)

    # isort: split
    from libp2p.identity_utils import create_identity_from_seed
    from libp2p.peer.id import ID

    for number in range(5):
        seed = bytes([number]) * 32
        ours = peer_id_of(bytes(nacl.signing.SigningKey(seed).verify_key))
        assert ours == ID.from_pubkey(create_identity_from_seed(seed).public_key).to_base58()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "0OIl" * 13,
        "1" * 52,
        "z" * 52,
        "12D3KooWHbogA5Qvs9VdkjKi1HxXZ11GAT2B5ARtfhveA8sXKUPj" + "1",
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        "12D3KooW" * 10_000,
    ],
)
def test_what_is_no_ed25519_peer_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="peer id"):
        public_key_of(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_peer_id_or_a_value_error(raw: bytes) -> None:
    try:
        assert public_key_of(peer_id_from_bytes(raw)) == raw[6:]
    except ValueError:
        assert len(raw) != 38 or not raw.startswith(bytes.fromhex("002408011220"))


def test_the_gate_follows_the_members_and_refuses_for_a_while() -> None:
    now = [0.0]
    gate = Gate(lambda: now[0])
    assert not gate.admits("anna")
    gate.admit(frozenset({"anna", "bela"}))
    assert gate.admits("anna")
    gate.refuse("anna", 60)
    assert not gate.admits("anna")
    assert gate.is_member("anna")
    now[0] = 60.0
    assert gate.admits("anna")
    gate.admit(frozenset({"bela"}))
    assert not gate.admits("anna")
    gate.close()
    assert not gate.admits("bela")


def test_a_gate_for_anybody_remembers_a_bounded_number_of_refused() -> None:
    gate = Gate(lambda: 0.0, anybody=True)
    for number in range(MAX_REFUSED + 10):
        gate.refuse(f"peer {number}", 60 + number)
    assert not gate.admits(f"peer {MAX_REFUSED}")
    assert gate.admits("peer 0")  # the one that would have been let in first made room


def test_who_is_refused_again_takes_nobody_elses_place_among_the_refused() -> None:
    gate = Gate(lambda: 0.0, anybody=True)
    for number in range(MAX_REFUSED):
        gate.refuse(f"peer {number}", 60 + number)
    gate.refuse("peer 7", 600)
    assert not gate.admits("peer 0")


def test_a_bucket_allows_bursts_and_then_its_rate() -> None:
    now = [0.0]
    bucket = Bucket(rate_per_s=10, burst=100, now=lambda: now[0])
    assert bucket.take(100) == 0
    assert bucket.take(20) == 2.0
    now[0] = 2.0
    assert not bucket.take_if_any(1)
    now[0] = 2.1
    assert bucket.take_if_any(1)
    now[0] = 1000.0
    assert bucket.take_if_any(100)
    assert not bucket.take_if_any(1)


class _Dials:
    """A dialler whose dials succeed when `up` says so."""

    def __init__(self, own_id: str) -> None:
        self.times: list[float] = []
        self.addresses: list[str] = []
        self.up = False
        self.connected = False
        self.wanted = True
        self.dialler = Dialler(
            own_id,
            wanted=lambda peer: self.wanted,
            connected=lambda peer: self.connected,
            dial=self.dial,
            rng=random.Random(7),
        )

    async def dial(self, peer: str, address: str) -> bool:
        self.times.append(trio.current_time())
        self.addresses.append(address)
        self.connected = self.up
        return self.up


async def test_a_silent_peer_is_dialled_less_and_less_but_for_ever(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dials = _Dials("anna")
    nursery.start_soon(dials.dialler.run)
    began = trio.current_time()
    dials.dialler.add_address("bela", ["/a"])
    await trio.sleep(600)
    assert dials.times[0] == began
    gaps = [later - earlier for earlier, later in zip(dials.times, dials.times[1:], strict=False)]
    assert gaps[0] <= 0.5
    assert all(gap <= LONGEST_DELAY_S for gap in gaps)
    assert min(gaps[-5:]) >= LONGEST_DELAY_S / 2
    assert len(set(gaps[-5:])) == 5  # jitter


async def test_a_lost_peer_is_dialled_again_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dials = _Dials("anna")
    nursery.start_soon(dials.dialler.run)
    dials.dialler.add_address("bela", ["/a", "/b"])
    await trio.sleep(300)
    assert dials.addresses[:2] == ["/a", "/b"]
    dials.up = True
    await trio.sleep(60)
    assert dials.connected
    count = len(dials.times)
    await trio.sleep(600)
    assert len(dials.times) == count
    dials.connected = False
    lost_at = trio.current_time()
    dials.dialler.lost("bela", lasted_s=600)
    await trio.sleep(1)
    assert dials.times[count] == lost_at


async def test_a_peer_that_accepts_and_hangs_up_is_dialled_less_and_less(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dials = _Dials("anna")
    dials.up = True
    nursery.start_soon(dials.dialler.run)
    dials.dialler.add_address("bela", ["/a"])
    for _ in range(300):
        await trio.sleep(1)
        if dials.connected:
            dials.connected = False
            dials.dialler.lost("bela", lasted_s=0.1)
    assert 10 < len(dials.times) < 30


async def test_the_larger_id_waits_a_moment_and_who_is_not_wanted_is_not_dialled(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    dials = _Dials("zora")
    nursery.start_soon(dials.dialler.run)
    dials.wanted = False
    began = trio.current_time()
    dials.dialler.add_address("bela", ["/a"])
    await trio.sleep(100)
    assert dials.times == []
    dials.wanted = True
    dials.dialler.wake()
    await trio.sleep(0.1)
    assert len(dials.times) == 1

    other = _Dials("zora")
    nursery.start_soon(other.dialler.run)
    began = trio.current_time()
    other.up = True
    other.dialler.add_address("bela", ["/a"])
    await trio.sleep(10)
    assert other.times == [began + YIELD_S]


async def _broken() -> None:
    raise StreamReset("connection lost")


async def _strict() -> None:
    raise Misbehaved("no manners")


async def _bug() -> None:
    raise KeyError("price")


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ([_broken], None),
        ([_broken, _broken], None),
        ([_broken, _strict], "no manners"),
        ([_bug, _strict, _broken], "no manners"),
        ([_broken, _bug], "handler raised"),
    ],
)
async def test_errors_of_a_handlers_own_tasks_are_judged_one_by_one(
    tasks: list[Callable[[], Awaitable[None]]], reason: str | None
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(task)
    assert reason_to_drop(caught.value) == reason


class _Script:
    """A stream that says what it is told to, and notes what it hears."""

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.heard = b""

    async def read(self, n: int | None = -1) -> bytes:
        assert n is not None and n > 0
        data, self.says = self.says[:n], self.says[n:]
        return data

    async def write(self, data: bytes) -> None:
        self.heard += data


HEADER = b"\x13/multistream/1.0.0\n"


async def test_a_protocol_is_agreed_on() -> None:
    client = _Script(HEADER + b"\x03na\n" + b"\x03/b\n")
    assert await multistream.ask(client, ["/a", "/b"]) == "/b"
    assert client.heard == HEADER + b"\x03/a\n" + b"\x03/b\n"
    server = _Script(HEADER + b"\x03/a\n" + b"\x03/b\n")
    assert await multistream.answer(server, {"/b"}) == "/b"
    assert server.heard == HEADER + b"\x03na\n" + b"\x03/b\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(1000),
        b"\x81\x02" + b"x" * 257,
        HEADER,
        HEADER + b"\x02\xff\n",
        HEADER + b"\x03/a!",
        HEADER + b"\x03/a\n" * 100,
    ],
)
async def test_a_negotiation_of_garbage_fails_and_does_nothing_else(garbage: bytes) -> None:
    with pytest.raises(multistream.NegotiationFailed):
        await multistream.answer(_Script(garbage), {"/echo/1"})
    with pytest.raises(multistream.NegotiationFailed):
        await multistream.ask(_Script(garbage), ["/echo/1"])
