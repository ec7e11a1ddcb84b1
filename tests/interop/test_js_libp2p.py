"""js-libp2p: a member in JavaScript reads the readings of a running mesh, checks them, and speaks.

It is written from protocols/SPEC.md, with libraries that know nothing of this project:
js-libp2p for the network, a COSE library for signatures, a CBOR library for the rest.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from meshnode.founding import NodeKeys
from meshnode.keys import SigningKey
from meshnode.loopback import NodeProcess
from meshnode.network.gossip import READINGS, topic
from meshnode.network.libp2p import Libp2pTransport, open_libp2p
from protocols import cbor
from protocols.block import SignedRecord, sign_record
from protocols.records import OpenCounters, Order, Reading, meter_id_of, to_payload
from tests.data import ROOT
from tests.interop.javascript import JavaScriptMember, folder, javascript_member, run_vectors
from tests.scenarios.mesh import ANNA, BELA, CARLA, PATIENCE_S, Household, Mesh, open_mesh

pytestmark = pytest.mark.nightly

# Members whose nodes are no processes: the JavaScript one (she has a meter, without which nobody may order,
# but nothing reads it), and one whose key this test uses for mischief.
JANA = Household(name="jana", votes=False, runs=False)
MALLORY = Household(name="mallory", metered=False, votes=False, runs=False)

# Anna, Bela and Carla report at the end of every period: two periods.
ENOUGH_READINGS = 6
# So that an order for the coming period is final long before it begins.
AHEAD_REAL_S = 6.0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with the programs and their libraries; without Node.js the test skips and says so."""
    return folder(tmp_path)


def test_javascript_judges_the_vectors_alike(run: Path) -> None:
    """Every envelope verifies in the COSE library, what is to be refused is refused, ids and fields are the same."""
    vectors = ROOT / "protocols" / "vectors"
    good = {vector["name"]: vector for vector in _load(vectors / "records.json")["good"] if "envelope" in vector}
    found = run_vectors(run, vectors)
    assert {one["name"]: one["record_id"] for one in found["envelopes"]} == {
        name: vector["record_id"] for name, vector in good.items()
    }
    readings = {one["name"]: one["fields"] for one in found["envelopes"] if one["fields"] is not None}
    assert readings == {name: vector["fields"] for name, vector in good.items() if vector["kind"] == "Reading"}
    assert found["opened"] == []
    assert found["holding"] == [one["name"] for one in _load(vectors / "signatures.json") if one["holds"]]


async def test_a_member_in_javascript(run: Path, tmp_path: Path) -> None:
    """Three nodes and jana: she hears, checks and orders; forged readings and a stranger get nowhere."""
    homes = (ANNA, BELA, CARLA, JANA, MALLORY)
    async with (
        open_mesh(tmp_path / "mesh", homes, binding="neighbour_market") as mesh,
        _member(run, "jana", mesh, mesh["jana"].keys) as jana,
    ):
        await _is_connected(mesh, jana)
        await _hears_what_the_ledger_has(mesh, jana)
        await _orders(mesh, jana)
        await _sees_through_forgeries(mesh, jana)
        await _does_not_pass_on_forgeries(mesh, jana)
        await _strangers_stay_outside(mesh, run)
        await _is_still_welcome(mesh, jana)


async def _is_connected(mesh: Mesh, jana: JavaScriptMember) -> None:
    ready = jana.events("ready")[0]
    assert ready["chain_id"] == mesh.chain_id.hex()
    assert ready["peer_id"] == mesh["jana"].peer_id
    expected = [node.address for node in mesh.running]
    await jana.until("all nodes dialled", lambda: jana.events("dialled")[len(expected) - 1 :])
    assert jana.events("not dialled") == []


async def _hears_what_the_ledger_has(mesh: Mesh, jana: JavaScriptMember) -> None:
    """Every reading that she has verified stands in a final block, and says the same there."""
    heard = {}

    def enough() -> list[dict[str, Any]]:
        heard.update({line["record_id"]: line for line in jana.events("reading")})
        meters = {line["record"]["meter"] for line in heard.values()}
        return list(heard.values()) if len(heard) >= ENOUGH_READINGS and len(meters) == 3 else []

    readings = await jana.until(f"{ENOUGH_READINGS} readings of three meters", enough)
    meter_of = {meter_id_of(key.public).hex(): node for node in mesh.running for key in node.keys.meters.values()}
    for line in readings:
        outcome = await mesh.outcome(mesh["bela"], line["record_id"])
        assert outcome["verdict"] == "ACCEPTED", outcome
        [record] = await _of_block(mesh["bela"], outcome["height"], line["record_id"])
        assert record["kind"] == "Reading"
        assert record["fields"] == line["record"]
        assert line["author"] == meter_of[line["record"]["meter"]].peer_id
    print(f"\n{len(readings)} readings of {len(meter_of)} meters verified in JavaScript, all of them on the ledger")


async def _orders(mesh: Mesh, jana: JavaScriptMember) -> None:
    """An order that was signed in JavaScript becomes final at a node that did not get it from her alone."""
    start_s = mesh.next_period_s(AHEAD_REAL_S)
    wanted = {"side": 1, "period_start_s": start_s, "energy_wh": 250, "price_u_kwh": 200_000}
    valid_until_s = mesh.spoken(0)["valid_until_s"]
    said = await jana.answer("ordered", do="order", valid_until_s=valid_until_s, **wanted)
    for node in mesh.running:
        outcome = await mesh.outcome(node, said["record_id"])
        assert outcome["verdict"] == "ACCEPTED", outcome
    [record] = await _of_block(mesh["carla"], outcome["height"], said["record_id"])
    assert (record["signer"]["member"], record["signer"]["purpose"]) == ("jana", "member")
    fields = record["fields"]
    assert {name: fields[name] for name in wanted} == wanted
    # Signed by either library, the record has the same bytes.
    nonce = fields["nonce"]
    again = mesh.sign(Order(nonce=nonce, valid_until_s=valid_until_s, **wanted), mesh["jana"].keys.member)
    assert again.envelope_bytes.hex() == said["envelope"]
    print(f"an order signed in JavaScript is final at height {outcome['height']}")


async def _sees_through_forgeries(mesh: Mesh, jana: JavaScriptMember) -> None:
    """A real reading holds; with any part changed, or moved to another microgrid, it does not."""
    chain = mesh.chain_id.hex()
    envelope = bytes.fromhex(jana.events("reading")[-1]["envelope"])
    assert (await jana.answer("checked", do="check", envelope=envelope.hex(), chain_id=chain))["holds"]
    other = bytes(32).hex()
    answer = await jana.answer("checked", do="check", envelope=envelope.hex(), chain_id=other)
    assert not answer["holds"] and "VERIFICATION" in answer["why"], answer
    for position in range(len(envelope)):
        changed = bytearray(envelope)
        changed[position] ^= 1
        answer = await jana.answer("checked", do="check", envelope=changed.hex(), chain_id=chain)
        assert not answer["holds"], f"byte {position} changed, and it holds"


async def _does_not_pass_on_forgeries(mesh: Mesh, jana: JavaScriptMember) -> None:
    """Mallory, a member, sends her readings that no meter of this microgrid has signed."""
    key = next(iter(mesh["anna"].keys.meters.values()))
    counters = OpenCounters(import_wh=1, export_wh=1)
    honest = Reading(meter=meter_id_of(key.public), period_start_s=mesh.begin_s, values=counters, version=200)
    elsewhere = sign_record(honest, bytes(32), key.public, key.sign)
    own = SigningKey(bytes(range(32)))
    forged = sign_record(honest, mesh.chain_id, own.public, own.sign)
    before = await mesh.statuses()
    async with _mallory(mesh, jana) as transport:
        for batch in (_batch(elsewhere), _batch(forged), b"\xa0"):
            expected = len(jana.events("refused")) + 1
            await transport.publish(topic(mesh.chain_id, READINGS), batch)
            await jana.until("it is refused", lambda n=expected: jana.events("refused")[n - 1 :])
    mallory = mesh["mallory"].peer_id
    assert [(line["author"], line["why"]) for line in jana.events("refused")] == [
        (mallory, "envelope: ERR_COSE_SIGNATURE_VERIFICATION_FAILED"),
        (mallory, "signed by no meter of the genesis"),
        (mallory, "batch: not a list of byte strings"),
    ]
    assert [_blamed(status) for status in before] == [_blamed(status) for status in await mesh.statuses()]


async def _strangers_stay_outside(mesh: Mesh, run: Path) -> None:
    """The same program with a key that is no member's gets no connection, and hears nothing."""
    before = [_refused(status) for status in await mesh.statuses()]
    async with _member(run, "stranger", mesh, _strange_keys(mesh["jana"].keys)) as stranger:
        await stranger.until("all dials failed", lambda: stranger.events("not dialled")[len(mesh.running) - 1 :])
        assert stranger.events("dialled") == []
        assert stranger.events("reading") == []
        print("a stranger:", stranger.events("not dialled")[0]["why"])

    async def refused() -> bool:
        return all(now > then for now, then in zip([_refused(s) for s in await mesh.statuses()], before, strict=True))

    await mesh.until("every node has refused the stranger", refused)


async def _is_still_welcome(mesh: Mesh, jana: JavaScriptMember) -> None:
    """To the end she is connected with every node, has broken no rule, and hears the next period's readings."""
    for status in await mesh.statuses():
        assert status["peers"] == len(mesh.running), status
        faults = {name: n for name, n in status["counters"].items() if name.startswith(("dropped", "blamed"))}
        assert faults == {}, f"at {status['name']}"
    before = len(jana.events("reading"))
    await jana.until("readings go on", lambda: jana.events("reading")[before:])
    await mesh.check_one_history()


def _member(run: Path, name: str, mesh: Mesh, keys: NodeKeys) -> Any:
    genesis = run / f"{name}.genesis"
    genesis.write_bytes(to_payload(mesh.genesis))
    return javascript_member(
        run,
        name,
        genesis=str(genesis),
        device_seed=keys.device.seed.hex(),
        member_seed=keys.member.seed.hex(),
        listen=["/ip4/127.0.0.1/tcp/0"],
        dial=[node.address for node in mesh.running],
    )


@asynccontextmanager
async def _mallory(mesh: Mesh, jana: JavaScriptMember) -> AsyncIterator[Libp2pTransport]:
    """A node of mallory's that knows jana alone and dials her, so that connections go that way too."""
    keys = mesh["mallory"].keys
    async with open_libp2p(keys.device.seed, [], [topic(mesh.chain_id, READINGS)]) as transport:
        peer = mesh["jana"].peer_id
        transport.admit(frozenset({peer}))
        transport.add_address(peer, jana.events("ready")[0]["addresses"])
        assert transport.pubsub is not None
        with trio.fail_after(PATIENCE_S):
            while not transport.pubsub.peer_topics.get(topic(mesh.chain_id, READINGS)):
                await trio.sleep(0.05)
        yield transport


def _strange_keys(keys: NodeKeys) -> NodeKeys:
    return NodeKeys(SigningKey(bytes(range(1, 33))), keys.member, {})


async def _of_block(node: NodeProcess, height: int, record_id: str) -> list[dict[str, Any]]:
    block = await node.client.get(f"/api/blocks/{height}")
    return [record for record in block["records"] if record["id"] == record_id]


def _batch(*records: SignedRecord) -> bytes:
    return cbor.encode([signed.envelope_bytes for signed in records])


def _refused(status: dict[str, Any]) -> int:
    return int(status["counters"].get("refused inbound: not admitted", 0))


def _blamed(status: dict[str, Any]) -> int:
    return sum(count for name, count in status["counters"].items() if name.startswith("blamed"))


def _load(path: Path) -> Any:
    return json.loads(path.read_text())
