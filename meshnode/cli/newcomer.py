"""Newcomer: `meshnode join` - knocking at a microgrid's door with an invitation, and coming in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from meshnode.cli.home import LISTEN, WEB, Listen, Meters, Name, Web, check_addresses, meters, new_place, throwaway
from meshnode.cli.output import Fault, Json, No, answer, note
from meshnode.cli.parser import Argument, Group
from meshnode.cli.place import Dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshnode.founding import NodeKeys
    from meshnode.network.joining import Doorstep
    from protocols.joining import Knock
    from protocols.records import Genesis

# So often a newcomer knocks while the community's nodes have not agreed yet, each time for half a minute.
KNOCKS = 4


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(join)


def join(
    link: Annotated[str, Argument("LINK", "The administrator's invitation, in quotes.")],
    name: Name,
    directory: Dir = None,
    meter: Meters = None,
    listen: Listen = LISTEN,
    web: Web = WEB,
    json: Json = False,
) -> None:
    """Join a microgrid with an invitation. Exit 1 if it is refused; the same link can be tried again after a break."""
    import trio

    from meshnode import founding
    from meshnode.config import web_address
    from meshnode.invitations import read_link
    from meshnode.network.joining import knock
    from meshnode.store.place import GENESIS_FILE, microgrid_directory
    from protocols.joining import Knock
    from protocols.records import join_request_bytes

    invitation = read_link(link)
    place = new_place(directory)
    sections = meters(meter or [])
    check_addresses(listen, *invitation.addresses)
    web_address(web, "--web")
    if invitation.expires_s < time.time():
        raise No("the invitation has expired\n    ask the administrator for a new one")
    points = [section["metering_point"] for section in sections]
    _check_entry(throwaway(sections).entry(name, [invitation.role]))
    made = _keys(place, points)
    member = made.entry(name, [invitation.role])
    request = Knock(
        invitation=invitation.id,
        secret=invitation.secret,
        member=member,
        proof=made.member.sign(join_request_bytes(invitation.chain_id, invitation.id, member)),
    )
    visit = _Visit(request, invitation.chain_id)
    trio.run(_knock_until_heard, knock, made.device.seed, invitation.addresses, request, visit, json)
    assert visit.genesis is not None
    # It is there already if an earlier attempt was interrupted between the two steps.
    if not (microgrid_directory(place, invitation.chain_id) / GENESIS_FILE).exists():
        founding.place_ledger(place, visit.genesis)
    chain = invitation.chain_id.hex()
    microgrid = {"peers": list(visit.peers)}
    founding.write_config(place, name, listen=[listen], web=web, microgrids={chain: microgrid}, meters=sections)
    value = {
        "directory": str(place),
        "community": visit.genesis.community,
        "chain_id": chain,
        "name": name,
        "role": invitation.role,
        "height": visit.height,
        "peers": list(visit.peers),
        "metering_points": points,
    }
    text = (
        f"welcome to {visit.genesis.community}: {name} is a member as {invitation.role} since block {visit.height}\n"
        f"next:\n  meshnode run {place}          starts this node and prints where its page is"
    )
    answer(value, text, json)


class _Visit:
    """What a newcomer heard at the door. `height` is 0 until it is let in."""

    def __init__(self, knock: Knock, chain_id: bytes) -> None:
        self.genesis: Genesis | None = None
        self.peers: Sequence[str] = ()
        self.height = 0
        self._knock = knock
        self._chain_id = chain_id

    async def __call__(self, door: Doorstep) -> None:
        """Hear the door out.

        Raises:
            No: it refuses.
            NoDoor: it breaks off.
            JoiningError: what it says does not hold.
        """
        from meshnode.keys import verify
        from meshnode.ledger.verdicts import SENTENCES as VERDICTS
        from meshnode.ledger.verdicts import Verdict
        from protocols.joining import (
            SENTENCES,
            Admitted,
            Foundation,
            JoiningError,
            Reason,
            check_admission,
            check_foundation,
        )

        while True:
            said = await door.answer()
            if isinstance(said, Foundation):
                self.genesis = check_foundation(said, self._chain_id)
                _check_peers(said.peers)
                self.peers = said.peers
            elif isinstance(said, Admitted):
                if self.genesis is None:
                    raise JoiningError("the door let us in without showing the genesis; this is not right")
                member, invitation = self._knock.member, self._knock.invitation
                self.height = check_admission(said, invitation, member, self.genesis, verify)
                return
            elif said.reason == Reason.NOT_FINAL_YET:
                return
            else:
                why = _sentence(SENTENCES, said.reason)
                if said.reason == Reason.LEDGER:
                    why = _sentence(VERDICTS, said.verdict)
                    if said.verdict == Verdict.NAME_TAKEN:
                        why += "\n    choose another with --name; the link is still good"
                raise No(f"not let in: {why}")


def _sentence(sentences: Mapping[Any, str], number: int) -> str:
    return sentences.get(number, f"for a reason that this version does not know ({number})")


async def _knock_until_heard(
    knock: Any, seed: bytes, addresses: Sequence[str], request: Knock, visit: _Visit, quiet: bool
) -> None:
    for _ in range(KNOCKS):
        if not quiet:
            note(f"knocking at {addresses[0]}")
        await knock(seed, addresses, request, visit._chain_id, visit)
        if visit.height:
            return
        if not quiet:
            note("the community's nodes have not agreed yet; knocking again")
    raise Fault("the community's nodes did not agree in time\n    try again later, with the same link and directory")


def _keys(place: Path, points: Sequence[str]) -> NodeKeys:
    """New keys, or those of an attempt to join that was interrupted."""
    from meshnode import keys
    from meshnode.config import KEYS_DIRECTORY, meter_key_file
    from meshnode.founding import NodeKeys

    def key(name: str) -> keys.SigningKey:
        path = place / KEYS_DIRECTORY / name
        if not path.exists():
            keys.save(path, keys.SigningKey.generate())
        return keys.load(path)

    meters = {point: key(meter_key_file(point)) for point in points}
    return NodeKeys(key(keys.DEVICE_KEY), key(keys.MEMBER_KEY), meters)


def _check_peers(addresses: Sequence[str]) -> None:
    """Refuse a door that names addresses which the node could not dial."""
    from meshnode.network.addresses import read_address
    from protocols.joining import JoiningError

    for address in addresses:
        try:
            if not read_address(address).peer:
                raise ValueError(f"address {address!r}: without a peer id")
        except ValueError as error:
            raise JoiningError(f"the door names neighbours that cannot be dialled: {error}") from error


def _check_entry(entry: Any) -> None:
    """Refuse names that no ledger takes. Raises RecordError."""
    from protocols.records.schema import encode_fields

    encode_fields(entry, "member")
