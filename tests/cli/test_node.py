"""Nodes that run in processes of their own: founding, joining, trading, stopping, and everything verified."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from meshnode.client import NodeClient
from meshnode.invitations import read_link
from tests.cli.shell import PATIENCE_S, ROOT, Done, complaint, environment, meshnode, running, spawn


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def found(directory: Path, *more: object) -> str:
    """Anna's node directory; the chain id of her microgrid."""
    words = ("--community", "Via Verdi", "--name", "anna", "--preset", "neighbour-market", "--json")
    places = ("--listen", f"/ip4/127.0.0.1/tcp/{free_port()}", "--joining", f"/ip4/127.0.0.1/tcp/{free_port()}")
    done = meshnode("init", directory, *words, *places, "--web", "127.0.0.1:0", *more)
    assert done.code == 0, done
    chain_id: str = done.json["chain_id"]
    return chain_id


def caught_up(directory: Path, height: int) -> None:
    """Wait until a node's ledger has reached a height."""
    deadline = time.monotonic() + PATIENCE_S
    while meshnode("status", "--dir", directory, "--json").json["height"] < height:
        assert time.monotonic() < deadline, f"not at height {height} within {PATIENCE_S} s"
        time.sleep(0.2)


def join(link: str, directory: Path, name: str, *more: object) -> Done:
    places = ("--listen", "/ip4/127.0.0.1/tcp/0", "--web", "127.0.0.1:0")
    return spawn("join", link, "--dir", directory, "--name", name, *places, *more)


def test_from_founding_to_a_traded_and_verified_ledger(tmp_path: Path) -> None:
    anna, bela = tmp_path / "anna", tmp_path / "bela"
    chain_id = found(anna, "--meter", "driver=simulated,seed=3,interval_ms=500")
    with running(anna) as anna_runs:
        ready = anna_runs.ready
        assert (ready["event"], ready["name"], ready["chain_id"]) == ("ready", "anna", chain_id)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", ready["web"])
        assert ready["pid"] == anna_runs.process.pid
        assert len(ready["listen"]) == len(ready["joining"]) == 1

        # Bela is invited, joins, and the link is void.
        link = meshnode("invite", anna).out.strip()
        joined = join(link, bela, "bela", "--meter", "driver=simulated,seed=4,interval_ms=500", "--json")
        assert joined.code == 0, joined
        assert (joined.json["chain_id"], joined.json["peers"]) == (chain_id, ready["listen"])
        height = joined.json["height"]
        second = join(link, tmp_path / "carla", "carla")
        assert (second.code, second.out) == (1, "")
        assert second.err.endswith(
            "error: not let in: the invitation was used by somebody else; ask the administrator for a new one\n"
        )

        with running(bela):
            caught_up(bela, height)
            # A learner: it follows, does not vote, and its member trades like everybody.
            order = meshnode(
                "order", "buy", "--energy", "1.5 kWh", "--price", "0.20 EUR/kWh", "--wait", 30, "--dir", bela, "--json"
            )
            assert order.code == 0, order
            assert order.json["height"] > height
            status = meshnode("status", "--dir", bela, "--json").json
            assert (status["role"], status["name"], status["peers"]) == ("learner", "bela", 1)
            assert "learner" in meshnode("status", "--dir", bela).out
            [listed] = meshnode("order", "list", "--dir", bela, "--json").json["orders"]
            assert (listed["side"], listed["energy_wh"], listed["price_u_kwh"]) == ("buy", 1500, 200_000)
            assert listed["order_id"] == order.json["record_id"]
            assert "1.5 kWh  0.20 EUR/kWh" in meshnode("order", "list", "--dir", bela).out

            # It becomes another one, under the same id.
            more = ("--energy", "2 kWh", "--price", "0.21 EUR/kWh", "--wait", 30)
            amended = meshnode("order", "amend", listed["order_id"], *more, "--dir", bela)
            assert amended.code == 0 and "the order wants 2 kWh at 0.21 EUR/kWh" in amended.out, amended
            assert re.search(r"2 kWh +0\.21 EUR/kWh", meshnode("order", "list", "--dir", bela).out)
            assert "expected one of both" in complaint("order", "amend", "ab" * 32, "--price", 1, "--dir", bela)

            # What the ledger refuses is a no, with the reason.
            cheap = meshnode("order", "sell", "--energy", "1 kWh", "--price", "900 EUR/kWh", "--dir", anna)
            refused = meshnode("transfer", "--to", "bela", "--asset", "SUN", "--amount", 5, "--dir", anna)
            assert (refused.code, refused.err) == (1, "")
            assert re.fullmatch(r"refused in block \d+: there is no such asset\n", refused.out)
            assert cheap.code in (0, 1)
            assert "expected the name or the account id of a member" in complaint(
                "transfer", "--to", "nobody", "--asset", "SUN", "--amount", 5, "--dir", anna
            )

            assert meshnode("asset", "issue", "SUN", "--cap", 1000, "--amount", 100, "--dir", anna).code == 0
            assert meshnode("transfer", "--to", "bela", "--asset", "SUN", "--amount", 30, "--dir", anna).code == 0
            cancelled = meshnode("order", "cancel", listed["order_id"], "--wait", 30, "--dir", bela)
            assert cancelled.code == 0, cancelled
            again = meshnode("order", "cancel", listed["order_id"], "--wait", 30, "--dir", bela)
            assert (again.code, again.out.count("there is no such open order")) == (1, 1)

            # The token is what allows to act: without the right one nothing moves.
            token = (bela / "api.token").read_text()
            (bela / "api.token").write_text("wrong\n")
            refused = complaint("transfer", "--to", "anna", "--asset", "SUN", "--amount", 1, "--dir", bela)
            assert refused.startswith(f"{bela / 'api.token'}: found another token, expected that of the running node")
            (bela / "api.token").write_text(token)

        stopped = anna_runs.stop()
        assert stopped.code == 0
        assert [json.loads(line)["event"] for line in stopped.out.splitlines()] == ["stopping", "stopped"]
        assert not (anna / "running.json").exists()

    # What both have on disk is the same, and holds.
    known = meshnode("ledger", "verify", bela, "--json").json["chains"][0]["final_height"]
    verified = [meshnode("ledger", "verify", place, "--state-at", known, "--json") for place in (anna, bela)]
    assert [done.code for done in verified] == [0, 0]
    assert verified[0].json["state_at"] == verified[1].json["state_at"] != ""

    # And the order can be proved by anybody with the genesis.
    file = tmp_path / "order.receipt"
    assert meshnode("receipt", order.json["record_id"], "--dir", anna, "--out", file).code == 0
    [genesis] = bela.rglob("genesis.cbor")
    checked = meshnode("receipt", "check", file, "--genesis", genesis, "--json").json
    assert (checked["kind"], checked["height"]) == ("Order", order.json["height"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_stops_cleanly_when_told_to_and_starts_again_where_it_was(
    tmp_path: Path, number: signal.Signals
) -> None:
    place = tmp_path / "anna"
    found(place)
    with running(place) as node:
        assert meshnode("asset", "issue", "SUN", "--cap", 10, "--dir", place).code == 0
        height = meshnode("status", "--dir", place, "--json").json["height"]
        # Anna has no meter; the market is for those who have one.
        order = meshnode("order", "sell", "--energy", "1 kWh", "--price", "0.2 EUR/kWh", "--dir", place)
        assert order.code == 1 and "refused: the ledger knows no meter of this home" in order.err
        done = node.stop(number)
        assert done.code == 0 and "Traceback" not in done.err
    with running(place) as node:
        assert meshnode("status", "--dir", place, "--json").json["height"] >= height
        # A second node in the same directory does not disturb the first.
        assert complaint("run", place, run=spawn) == (
            f"{place}: this node is running already, as process {node.process.pid} "
            f"with its page at {node.ready['web']}\n"
            "    stop that one first, or give another node its own directory"
        )
        assert meshnode("status", "--dir", place).code == 0
        assert node.stop().code == 0


def test_a_node_answers_people_without_json(tmp_path: Path) -> None:
    place = tmp_path / "anna"
    chain_id = found(place, "--meter", "driver=dsmr,port=/dev/null/nothing")
    words = [sys.executable, "-m", "meshnode", "run", str(place), "--log", "warning"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, env=environment(), cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        lines = [process.stdout.readline() for _ in range(4)]
        warned = next(line for line in process.stderr if "WARNING" in line and "meter" in line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert re.fullmatch(r"anna in Via Verdi: http://127\.0\.0\.1:\d+/\n", lines[0])
    assert "neighbours reach this node at /ip4/127.0.0.1/tcp/" in lines[1]
    assert "newcomers come in at /ip4/127.0.0.1/tcp/" in lines[2]
    assert lines[3] == "  meter home is read with the driver dsmr\n"
    assert "meter home failed: " in warned and "/dev/null/nothing" in warned
    assert chain_id


def test_joining_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """The first attempt finds no door; keys are made, and the second attempt uses them."""
    anna, bela = tmp_path / "anna", tmp_path / "bela"
    found(anna)
    link = meshnode("invite", anna).out.strip()
    first = join(link, bela, "bela")
    assert first.code == 2 and "no door answers at /ip4/127.0.0.1/tcp/" in first.err
    assert "is the administrator's node running" in first.err and "Traceback" not in first.err
    keys = {path.name: path.read_text() for path in (bela / "keys").iterdir()}
    assert set(keys) == {"device.key", "member.key"}
    with running(anna):
        taken = join(link, bela, "anna")
        remedy = "    choose another with --name; the link is still good\n"
        assert (taken.code, taken.err.split("error: ")[1]) == (1, f"not let in: the name is taken\n{remedy}")
        done = join(link, bela, "bela")
        assert done.code == 0 and "welcome to Via Verdi: bela is a member as prosumer since block" in done.out
        assert {path.name: path.read_text() for path in (bela / "keys").iterdir()} == keys
        assert "there is a node here already" in complaint("join", link, "--dir", bela, "--name", "bela")

        # A link for another microgrid, a wrong secret, an expired link, a role that was changed by hand.
        fresh = read_link(meshnode("invite", anna).out)
        text = str(fresh)
        wrong = {
            text.replace(fresh.chain_id.hex(), "00" * 32): (2, "is not the door of this microgrid"),
            text.replace(fresh.secret.hex(), "00" * 32): (1, "there is no such invitation"),
            text.replace(f"expires={fresh.expires_s}", "expires=1000"): (1, "the invitation has expired"),
            text.replace("role=prosumer", "role=administrator"): (1, "the invitation is for another role"),
        }
        for changed, (code, sentence) in wrong.items():
            refused = join(changed, tmp_path / "zora", "zora")
            assert refused.code == code and sentence in refused.err, refused
        assert join(text, tmp_path / "zora", "zora").code == 0


def test_the_client_hears_what_a_node_tells_its_pages(tmp_path: Path) -> None:
    place = tmp_path / "anna"
    found(place)
    with running(place) as node:

        async def listen() -> list[str]:
            client = NodeClient(node.ready["web"], (place / "api.token").read_text().strip())
            heard = []
            with trio.fail_after(30):
                async for event in client.events():
                    heard.append(event["event"])
                    if len(heard) == 1:
                        await client.post("/api/assets", {"asset": "SUN", "kind": "utility", "cap": 5, "amount": 1})
                    if event["event"] == "block":
                        return heard
            return heard

        heard = trio.run(listen)
        assert heard[0] == "hello" and heard[-1] == "block"
