"""Joining over the real network: who is let in, who is not, and what a broken line costs."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from meshnode.admission import Admission
from meshnode.invitations import Invitations, Link
from meshnode.keys import SigningKey, verify
from meshnode.ledger.verdicts import Verdict
from meshnode.network.joining import Doorstep, NoDoor, joining_protocol, keep_door, knock
from meshnode.network.libp2p import open_joining_listener, open_libp2p
from meshnode.network.transport import Stream, StreamReset
from protocols.frames import frame
from protocols.joining import (
    MAX_KNOCK_BYTES,
    Admitted,
    Foundation,
    JoiningError,
    Knock,
    Reason,
    Refused,
    check_admission,
    check_foundation,
)
from protocols.records import MemberEntry, MeterEntry, account_id_of, join_request_bytes, to_payload
from tests.cli.paper_grid import PaperGrid
from tests.ledger.chain import Chain
from tests.network.world import seed_of
from tests.protocols.keys import key_pair

NOW_S = 1_700_000_000
ANNAS_NODE = seed_of("anna's node")


class Newcomer:
    """Somebody with keys and a device, who may hold an invitation."""

    def __init__(self, name: str, role: str = "prosumer") -> None:
        self.name = name
        self.device = SigningKey(seed_of(f"{name} device"))
        self.member = SigningKey(seed_of(f"{name} member"))
        self.entry = MemberEntry(
            name=name,
            roles=(role,),
            member_key=self.member.public,
            device_key=self.device.public,
            meters=(MeterEntry(meter_key=SigningKey(seed_of(f"{name} meter")).public, metering_point="home"),),
        )

    def knock(self, link: Link, **changes: object) -> Knock:
        proof = self.member.sign(join_request_bytes(link.chain_id, link.id, self.entry))
        made = Knock(invitation=link.id, secret=link.secret, member=self.entry, proof=proof)
        return msgspec.structs.replace(made, **changes)


class Place:
    """Anna's door, standing open."""

    def __init__(self, directory: Path) -> None:
        self.chain = Chain()
        self.grid = PaperGrid(self.chain)
        self.now_s = NOW_S
        self.directory = directory
        self.invitations = Invitations(directory, self.chain.chain_id)
        self.addresses: tuple[str, ...] = ()
        self.door: object = None
        self.genesis = to_payload(self.chain.genesis)
        anna = key_pair("anna")
        self.anna = SigningKey(seed_of("anna"))
        self.anna.public, self.anna.key_id = anna.public, anna.key_id
        self.anna.sign = anna.sign  # type: ignore[method-assign]

    def invite(self, role: str = "prosumer", valid_s: int = 3600) -> Link:
        return self.invitations.make(role, self.now_s + valid_s, self.addresses)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        admission = Admission(self.grid, self.anna, self.invitations, lambda: self.now_s)
        async with trio.open_nursery() as nursery:
            door = await nursery.start(
                keep_door,
                ANNAS_NODE,
                "/ip4/127.0.0.1/tcp/0",
                self.chain.chain_id,
                self.genesis,
                lambda: ("/ip4/127.0.0.1/tcp/4170/p2p/anna",),
                admission.check,
                admission.admit,
            )
            self.addresses, self.door = tuple(door.addresses), door
            yield
            nursery.cancel_scope.cancel()

    async def visit(self, newcomer: Newcomer, link: Link, **changes: object) -> list[Foundation | Admitted | Refused]:
        """Everything that the door says to a newcomer."""
        heard: list[Foundation | Admitted | Refused] = []

        async def listen(door: Doorstep) -> None:
            while not heard or isinstance(heard[-1], Foundation):
                heard.append(await door.answer())

        made = newcomer.knock(link, **changes)
        await knock(newcomer.device.seed, link.addresses, made, link.chain_id, listen)
        return heard


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    village = Place(tmp_path)
    async with village.open():
        yield village


def reasons(heard: list[Foundation | Admitted | Refused]) -> list[object]:
    return [Reason(said.reason) if isinstance(said, Refused) else type(said) for said in heard]


def is_member(place: Place, newcomer: Newcomer) -> bool:
    return account_id_of(newcomer.member.public) in place.chain.machine.state.accounts


async def test_a_newcomer_with_an_invitation_becomes_a_member_and_can_prove_it(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    foundation, admitted = await place.visit(zora, link)
    assert isinstance(foundation, Foundation) and isinstance(admitted, Admitted)
    genesis = check_foundation(foundation, link.chain_id)
    assert genesis == place.chain.genesis
    assert foundation.peers == ("/ip4/127.0.0.1/tcp/4170/p2p/anna",)
    assert check_admission(admitted, link.id, zora.entry, genesis, verify) == place.chain.machine.height == 1
    row = place.chain.machine.state.accounts[account_id_of(zora.member.public)]
    assert (row.name, row.roles) == ("zora", ("prosumer",))


async def test_an_invitation_lets_one_newcomer_in_and_no_second_one(place: Place) -> None:
    link = place.invite()
    assert reasons(await place.visit(Newcomer("zora"), link)) == [Foundation, Admitted]
    assert reasons(await place.visit(Newcomer("yuri"), link)) == [Reason.USED]
    assert not is_member(place, Newcomer("yuri"))


async def test_two_newcomers_with_one_link_at_the_same_moment(place: Place) -> None:
    link = place.invite()
    heard: list[object] = []

    async def come(name: str) -> None:
        heard.append(reasons(await place.visit(Newcomer(name), link))[-1])

    async with trio.open_nursery() as nursery:
        for name in ("zora", "yuri"):
            nursery.start_soon(come, name)
    assert sorted(map(str, heard)) == sorted(map(str, (Admitted, Reason.USED)))


async def test_a_newcomer_whose_line_broke_hears_the_end_with_the_same_link(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    first = await place.visit(zora, link)
    # Also after the invitation has expired, and from a node that was started again in between.
    place.now_s += 7200
    place.invitations = Invitations(place.directory, place.chain.chain_id)
    assert await place.visit(zora, link) == first
    assert place.chain.machine.height == 1


async def test_a_community_that_cannot_agree_lets_in_later_and_only_once(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    place.grid.stuck = True
    assert reasons(await place.visit(zora, link)) == [Foundation, Reason.NOT_FINAL_YET]
    # Knocking again sends no second record while the first may still become final.
    assert reasons(await place.visit(zora, link)) == [Foundation, Reason.NOT_FINAL_YET]
    assert reasons(await place.visit(Newcomer("yuri"), link)) == [Reason.USED]
    place.grid.take()
    assert reasons(await place.visit(zora, link)) == [Foundation, Admitted]
    assert len(place.chain.blocks[-1].records) == 1


async def test_a_join_record_that_was_lost_is_signed_again_once_it_is_void(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    place.grid.stuck = True
    await place.visit(zora, link)
    place.grid.stuck = False
    place.grid._waiting = []
    assert reasons(await place.visit(zora, link))[-1] is Reason.NOT_FINAL_YET
    place.chain.block(time_s=place.chain.now_s + 3601)
    assert reasons(await place.visit(zora, link)) == [Foundation, Admitted]


async def test_a_node_that_does_not_take_the_record_leaves_the_invitation_unused(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    place.grid.refuses = "the mempool is full"
    assert reasons(await place.visit(zora, link)) == [Foundation, Reason.NOT_FINAL_YET]
    assert place.invitations.use_of(link.id) is None
    place.grid.refuses = ""
    assert reasons(await place.visit(Newcomer("yuri"), link)) == [Foundation, Admitted]


async def test_a_full_disk_leaves_no_half_claim_behind(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty file in its place would keep the newcomer out for good."""
    zora, link = Newcomer("zora"), place.invite()

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("meshnode.invitations.os.fsync", full)
        assert reasons(await place.visit(zora, link)) == [Foundation, Reason.NOT_FINAL_YET]
    assert place.invitations.use_of(link.id) is None
    assert isinstance((await place.visit(zora, link))[-1], Admitted)


async def test_an_expired_invitation(place: Place) -> None:
    link = place.invite(valid_s=60)
    place.now_s += 61
    assert reasons(await place.visit(Newcomer("zora"), link)) == [Reason.EXPIRED]


async def test_a_wrong_secret_and_an_unknown_invitation_get_the_same_answer(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    assert reasons(await place.visit(zora, link, secret=bytes(32))) == [Reason.UNKNOWN_INVITATION]
    assert reasons(await place.visit(zora, msgspec.structs.replace(link, id=bytes(16)))) == [Reason.UNKNOWN_INVITATION]
    assert not is_member(place, zora)


async def test_an_invitation_is_for_its_role_only(place: Place) -> None:
    assert reasons(await place.visit(Newcomer("zora", "administrator"), place.invite())) == [Reason.WRONG_ROLE]


async def test_keys_that_are_not_the_newcomers_own(place: Place) -> None:
    zora, yuri, link = Newcomer("zora"), Newcomer("yuri"), place.invite()
    # Somebody else's member key; a proof for another invitation; somebody else's device.
    stolen = msgspec.structs.replace(zora.entry, member_key=yuri.member.public)
    assert reasons(await place.visit(zora, link, member=stolen)) == [Reason.BAD_PROOF]
    other = zora.knock(place.invite()).proof
    assert reasons(await place.visit(zora, link, proof=other)) == [Reason.BAD_PROOF]
    zora.entry = msgspec.structs.replace(zora.entry, device_key=yuri.device.public)
    assert reasons(await place.visit(zora, link)) == [Reason.BAD_PROOF]


async def test_a_name_that_is_taken_costs_no_invitation(place: Place) -> None:
    link = place.invite()
    [_, refused] = await place.visit(Newcomer("bela"), link)
    assert refused == Refused(reason=Reason.LEDGER, verdict=Verdict.NAME_TAKEN)
    assert reasons(await place.visit(Newcomer("zora"), link)) == [Foundation, Admitted]


async def test_a_role_that_the_binding_does_not_admit(place: Place) -> None:
    [_, refused] = await place.visit(Newcomer("zora", "regulator"), place.invite("regulator"))
    assert refused == Refused(reason=Reason.LEDGER, verdict=Verdict.ROLE_NOT_ADMITTED)


async def test_only_an_administrators_node_lets_people_in(place: Place) -> None:
    place.grid.owner = "bela"
    assert reasons(await place.visit(Newcomer("zora"), place.invite())) == [Reason.NOT_OPEN]


async def test_an_invitation_whose_file_is_damaged_lets_nobody_in(place: Place) -> None:
    link = place.invite()
    [file] = (place.directory / "microgrids" / place.chain.chain_id.hex() / "invitations").iterdir()
    file.write_text("{")
    assert reasons(await place.visit(Newcomer("zora"), link)) == [Reason.UNKNOWN_INVITATION]


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\xff\xff\xff", frame(b""), frame(b"\xa0"), frame(bytes(MAX_KNOCK_BYTES)), frame(b"\xa1\x00\x18\x46")],
    ids=["nothing", "huge", "empty", "no kind", "zeros", "no fields"],
)
async def test_garbage_at_the_door_gets_its_sender_dropped_and_the_door_stays_open(
    place: Place, garbage: bytes
) -> None:
    door = place.door
    async with open_libp2p(seed_of("vandal"), []) as vandal:
        peer = door.peer_id  # type: ignore[attr-defined]
        vandal.admit(frozenset({peer}))
        vandal.add_address(peer, list(place.addresses))
        with trio.fail_after(10):
            while not vandal.peers():
                await trio.sleep(0.02)
            stream = await vandal.open_stream(peer, joining_protocol(place.chain.chain_id))
            await stream.send_all(garbage)
            await stream.aclose()
            while not any("joining" in reason for reason in door.counters):  # type: ignore[attr-defined]
                await trio.sleep(0.02)
    assert reasons(await place.visit(Newcomer("zora"), place.invite())) == [Foundation, Admitted]


async def test_a_door_with_another_genesis_is_found_out(place: Place) -> None:
    link = place.invite()
    changed = msgspec.structs.replace(place.chain.genesis, community="Oberdorf")
    with pytest.raises(JoiningError, match="this is another microgrid"):
        check_foundation(Foundation(genesis=to_payload(changed)), link.chain_id)


async def test_a_receipt_for_something_else_is_no_admission(place: Place) -> None:
    zora, link = Newcomer("zora"), place.invite()
    _, admitted = await place.visit(zora, link)
    assert isinstance(admitted, Admitted)
    genesis = place.chain.genesis
    for invitation, member in ((bytes(16), zora.entry), (link.id, Newcomer("yuri").entry)):
        with pytest.raises(JoiningError, match="for another record"):
            check_admission(admitted, invitation, member, genesis, verify)
    forged = Admitted(receipt=admitted.receipt[:-1] + bytes([admitted.receipt[-1] ^ 1]))
    with pytest.raises(JoiningError, match="receipt of the admission"):
        check_admission(forged, link.id, zora.entry, genesis, verify)


async def test_nobody_at_the_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnode.network.joining.DIAL_DEADLINE_S", 0.2)
    village = Place(tmp_path)
    async with village.open():
        link = village.invite()
    with pytest.raises(ExceptionGroup) as failed:
        await village.visit(Newcomer("zora"), link)
    assert failed.group_contains(NoDoor, match="no door answers at /ip4/127.0.0.1/tcp/")


async def test_what_answers_is_the_door_of_another_microgrid(place: Place) -> None:
    link = msgspec.structs.replace(place.invite(), chain_id=bytes(32))
    with pytest.raises(ExceptionGroup) as failed:
        await place.visit(Newcomer("zora"), link)
    assert failed.group_contains(NoDoor, match="is not the door of this microgrid")


@pytest.mark.parametrize("answer", [b"", frame(b"\xa0"), b"\xff\xff\xff\xff"], ids=["nothing", "no answer", "huge"])
async def test_a_door_that_does_not_speak_as_one(place: Place, answer: bytes) -> None:
    async def babble(stream: Stream) -> None:
        await stream.receive_some(10_000)
        await stream.send_all(answer)

    protocol = joining_protocol(place.chain.chain_id)
    async with open_joining_listener(seed_of("false"), ["/ip4/127.0.0.1/tcp/0"], protocol, babble) as door:
        link = msgspec.structs.replace(place.invite(), addresses=tuple(door.addresses))
        with pytest.raises(ExceptionGroup) as failed:
            await place.visit(Newcomer("zora"), link)
    assert failed.group_contains(NoDoor, match="the door (closed|said what no door says)")


async def test_a_door_that_falls_silent_is_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnode.network.joining.ANSWER_DEADLINE_S", 0.3)

    async def think(stream: Stream) -> None:
        await trio.sleep_forever()

    protocol = joining_protocol(place.chain.chain_id)
    async with open_joining_listener(seed_of("false"), ["/ip4/127.0.0.1/tcp/0"], protocol, think) as door:
        link = msgspec.structs.replace(place.invite(), addresses=tuple(door.addresses))
        with pytest.raises(ExceptionGroup) as failed:
            await place.visit(Newcomer("zora"), link)
    assert failed.group_contains(NoDoor, match=r"did not answer within 0\.3 s")


async def test_a_newcomer_who_says_nothing_is_shown_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnode.network.joining.KNOCK_DEADLINE_S", 0.2)
    async with open_libp2p(seed_of("shy"), []) as shy:
        peer = place.door.peer_id  # type: ignore[attr-defined]
        shy.admit(frozenset({peer}))
        shy.add_address(peer, list(place.addresses))
        with trio.fail_after(10):
            while not shy.peers():
                await trio.sleep(0.02)
            stream = await shy.open_stream(peer, joining_protocol(place.chain.chain_id))
            with pytest.raises(StreamReset):
                await stream.receive_some(1)
