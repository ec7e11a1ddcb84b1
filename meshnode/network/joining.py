"""Joining: the door of a microgrid, and knocking at it, over libp2p.

The door is a listener of its own that lets anybody in for this one protocol
(`open_joining_listener`): bounded connections, a rate, a short life. What is said is in
`protocols.joining`; who decides is passed in.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import trio

from meshnode.network.addresses import read_address
from meshnode.network.framed import Framed
from meshnode.network.gossip import prefix
from meshnode.network.libp2p import open_joining_listener, open_libp2p
from meshnode.network.transport import (
    DIAL_DEADLINE_S,
    DialError,
    Misbehaved,
    PeerId,
    Stream,
    StreamReset,
    Transport,
    public_key_of,
)
from protocols.frames import frame
from protocols.joining import (
    MAX_ANSWER_BYTES,
    MAX_KNOCK_BYTES,
    MAX_PEERS,
    Admitted,
    Foundation,
    Knock,
    Refused,
    knock_bytes,
    read_answer,
    read_knock,
)
from protocols.records import RecordError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

# A knock is one message on a fresh connection; whoever needs longer has nothing to say.
KNOCK_DEADLINE_S = 10.0
# The door waits half a minute for the ledger; transfer of a large genesis on top.
ANSWER_DEADLINE_S = 50.0

log = logging.getLogger(__name__)

Check = Callable[[Knock, bytes], Awaitable[Refused | None]]
"""(knock, device key of the peer) -> what stands against it."""
Admit = Callable[[Knock], Awaitable[Admitted | Refused]]


class NoDoor(Exception):
    """The door cannot be reached, or does not speak as a door does; the text is a sentence."""


def joining_protocol(chain_id: bytes) -> str:
    """The protocol that a microgrid's door speaks."""
    return f"{prefix(chain_id)}/joining/1"


async def keep_door(
    identity_seed: bytes,
    listen: str,
    chain_id: bytes,
    genesis: bytes,
    peers: Callable[[], Sequence[str]],
    check: Check,
    admit: Admit,
    task_status: TaskStatus[Transport] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Let newcomers in until cancelled.

    Args:
        identity_seed: of the device key.
        listen: a multiaddress of its own; port 0 picks a free one.
        genesis: canonical bytes.
        peers: multiaddresses of members' nodes, asked at every knock.
        check, admit: decide; see `meshnode.admission.Admission`.
    Raises:
        ListenError: the address cannot be used.
    """

    async def answer(stream: Stream) -> None:
        framed = Framed(stream, MAX_KNOCK_BYTES)
        knock = await _receive_knock(framed)
        refused = await check(knock, public_key_of(stream.peer))
        if refused is not None:
            log.info("a newcomer at the door was refused: reason %d", refused.reason)
            await framed.send(refused)
            return
        await framed.send(Foundation(genesis=genesis, peers=tuple(peers())[:MAX_PEERS]))
        await framed.send(await admit(knock))

    async with open_joining_listener(identity_seed, [listen], joining_protocol(chain_id), answer) as door:
        task_status.started(door)
        await trio.sleep_forever()


class Doorstep:
    """A newcomer's connection to a door; made by `knock`."""

    def __init__(self, stream: Stream) -> None:
        self._framed = Framed(stream, MAX_ANSWER_BYTES)

    async def answer(self) -> Foundation | Admitted | Refused:
        """What the door says next.

        Raises:
            NoDoor: nothing in time, or what no door says.
        """
        try:
            with trio.fail_after(ANSWER_DEADLINE_S):
                payload = await self._framed.receive()
            if payload is None:
                raise NoDoor("the door closed before it answered; try again with the same link")
            return read_answer(payload)
        except trio.TooSlowError as error:
            raise NoDoor(f"the door did not answer within {ANSWER_DEADLINE_S:g} s; try again") from error
        except StreamReset as error:
            raise NoDoor(f"the connection to the door broke ({error}); try again with the same link") from error
        except (Misbehaved, RecordError) as error:
            raise NoDoor(f"the door said what no door says: {error}") from error


async def knock(
    identity_seed: bytes,
    addresses: Sequence[str],
    knock: Knock,
    chain_id: bytes,
    visit: Callable[[Doorstep], Awaitable[None]],
) -> None:
    """Go to a door, knock, and let `visit` hear the answers.

    Args:
        identity_seed: of the newcomer's device key.
        addresses: of the door, each with its peer id.
    Raises:
        NoDoor: nobody is there, or the connection breaks.
        RecordError: the newcomer cannot be written down; see `knock_bytes`.
    """
    message = frame(knock_bytes(knock))
    by_peer: dict[PeerId, list[str]] = {}
    for address in addresses:
        by_peer.setdefault(_peer_of(address), []).append(address)
    async with open_libp2p(identity_seed, []) as transport:
        transport.admit(frozenset(by_peer))
        for peer, known in by_peer.items():
            transport.add_address(peer, known)
        peer = await _reach(transport, addresses)
        try:
            stream = await transport.open_stream(peer, joining_protocol(chain_id))
            await stream.send_all(message)
        except (DialError, StreamReset) as error:
            raise NoDoor(
                f"what answers at {addresses[0]} is not the door of this microgrid ({error})\n"
                "    ask the administrator for a new invitation"
            ) from error
        await visit(Doorstep(stream))
        await stream.aclose()


async def _reach(transport: Transport, addresses: Sequence[str]) -> PeerId:
    # Twice, since the dialler tries again after half a second.
    with trio.move_on_after(2 * DIAL_DEADLINE_S):
        with transport.watch() as events:
            async for event in events:
                if event.joined:
                    return event.peer
    raise NoDoor(
        f"no door answers at {', '.join(addresses)}\n"
        "    is the administrator's node running, and are you on its network?"
    )


def _peer_of(address: str) -> PeerId:
    try:
        peer = read_address(address).peer
        public_key_of(peer)
    except ValueError as error:
        raise NoDoor(f"the invitation names an address that is none: {error}") from error
    return peer


async def _receive_knock(framed: Framed) -> Knock:
    with trio.fail_after(KNOCK_DEADLINE_S):
        payload = await framed.receive()
    try:
        return read_knock(payload or b"")
    except RecordError as error:
        log.debug("at the door, %s: %s", framed.stream.peer, error)
        raise Misbehaved("joining: not a knock") from error
