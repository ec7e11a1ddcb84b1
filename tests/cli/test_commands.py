"""Commands that need no running node: their answers, their complaints and their exit codes."""

import hashlib
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshnode.cli import output
from meshnode.cli.main import app
from meshnode.cli.parser import Group
from meshnode.invitations import InvitationError, Invitations, read_link
from meshnode.store import Store
from protocols.records import Genesis, read_as
from tests.cli.shell import ROOT, complaint, environment, meshnode, spawn
from tests.ledger.chain import a_busy_morning
from zencode.presets import preset

VILLAGE = ROOT / "zencode" / "presets" / "mid_market_village.zen"
VILLAGE_HASH = "4819b599e775c87e698407a1c2bd08baceb2505bb7cceaab47447f62ec736261"


def init(directory: Path, *more: object) -> dict[str, object]:
    """A node directory of Anna's."""
    done = meshnode("init", directory, "--community", "Via Verdi", "--name", "anna", "--json", *more)
    assert done.code == 0, done
    found: dict[str, object] = done.json
    return found


# --- help, words that mean nothing, and what fails where


def test_help_names_every_command_and_the_exit_codes() -> None:
    done = meshnode("--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in app.entries)
    assert "Exit codes: 0 fine, 1 the answer is no, 2 something to mend" in done.out
    assert meshnode().code == 2
    assert meshnode("order").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("order", "buy"),
        ("binding", "check", VILLAGE),
        ("binding", "hash", __file__),
        ("ledger", "verify", "/nowhere"),
        ("status", "--dir", "/nowhere"),
        ("meter", "try", "--driver", "dsmr", "--port", "/dev/nowhere"),
        ("run", "/nowhere"),
        ("receipt", "deadbeef"),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_a_process_says_what_the_other_tests_hear_in_this_one(words: tuple[object, ...]) -> None:
    assert spawn(*words) == meshnode(*words)


def commands_of(group: Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, entry in group.entries.items():
        found += commands_of(entry, (*path, name)) if isinstance(entry, Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("command", commands_of(app), ids=" ".join)
def test_every_command_explains_itself_and_answers_in_json(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app.find([*command, "--help"], "meshnode")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: meshnode {' '.join(command)}")
    assert "--json" in said


def test_a_word_that_is_no_command_is_taken_for_a_slip() -> None:
    assert complaint("ordr") == "meshnode: no command 'ordr'; did you mean 'order'?"
    assert complaint("ledger", "xyz").startswith("meshnode ledger: no command 'xyz'\n    there are verify, show")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("order", "buy"), "the following arguments are required: --energy, --price"),
        (("ledger", "show", "ten"), "argument HEIGHT: found 'ten', expected a whole number"),
        (("ledger", "show", "0"), "argument HEIGHT: found 0, expected 1 or more"),
        (("run", "--log", "loud"), "found 'loud', expected one of debug, info, warning, error"),
        (("status", "--josn"), "unrecognized arguments: --josn"),
        (("order", "list", "--js"), "unrecognized arguments: --js"),
    ],
)
def test_wrong_options_are_refused_with_the_usage(words: tuple[str, ...], message: str) -> None:
    done = meshnode(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: meshnode ") and done.err.rstrip().endswith(message)


def test_every_error_that_is_no_bug_exists_under_its_name() -> None:
    for name, code in output.ERRORS.items():
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        assert issubclass(found, Exception) and f"{found.__module__}.{found.__qualname__}" == name
        assert code in (output.NO, output.MEND)


def test_a_bug_shows_its_traceback() -> None:
    def broken() -> int:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        output.guarded(broken)

    def half_broken() -> int:
        raise ExceptionGroup("both", [output.No("a refusal"), ZeroDivisionError("a bug")])

    with pytest.raises(ExceptionGroup):
        output.guarded(half_broken)


def test_what_several_tasks_complain_of_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> int:
        raise ExceptionGroup("", [output.No("no"), ExceptionGroup("", [output.No("no"), output.Fault("broken")])])

    assert output.guarded(refused) == 2
    assert capsys.readouterr().err == "error: no\nerror: broken\n"

    def interrupted() -> int:
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

    assert output.guarded(interrupted) == 130


def test_a_reader_who_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m meshnode binding preset mid-market-village --json | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment(), cwd=ROOT, capture_output=True, check=False
    )
    assert done.stderr == b""


# --- bindings


def test_a_binding_that_is_fine() -> None:
    done = meshnode("binding", "check", VILLAGE)
    assert (done.code, done.out) == (0, f"{VILLAGE}: fine, hash {VILLAGE_HASH}\n")
    assert meshnode("binding", "check", VILLAGE, "--json").json == {
        "file": str(VILLAGE),
        "ok": True,
        "hash": VILLAGE_HASH,
        "findings": [],
    }


def test_all_mistakes_of_a_binding_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "ours.zen"
    text = VILLAGE.read_text().replace("0.30 EUR", "0,30 EURO").replace("settlement period is", "settling period is")
    file.write_text(text)
    done = meshnode("binding", "check", file)
    assert done.code == 2 and done.err == ""
    places = re.findall(rf"^{re.escape(str(file))}:(\d+): mistake: ", done.out, re.M)
    wrong = [
        n for n, (a, b) in enumerate(zip(VILLAGE.read_text().split("\n"), text.split("\n"), strict=True), 1) if a != b
    ]
    assert wrong and set(map(int, places)) >= set(wrong)
    assert meshnode("binding", "check", file, "--json").json["ok"] is False
    for command in (("hash",), ("fmt",), ("translate", "--to", "it")):
        assert f"line {wrong[0]}" in complaint("binding", command[0], file, *command[1:])


def test_one_hash_in_two_languages(tmp_path: Path) -> None:
    italian = meshnode("binding", "translate", VILLAGE, "--to", "it").out
    assert "\nRegola lingua 'it'\n" in italian
    assert spawn("binding", "hash", "-", stdin=italian.encode()).out == f"{VILLAGE_HASH}\n"
    assert spawn("binding", "fmt", "-", "--json", stdin=italian.encode()).json["text"] == italian
    assert "klingon" in complaint("binding", "translate", VILLAGE, "--to", "klingon")


def test_fmt_writes_the_file_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "ours.zen"
    file.write_text(VILLAGE.read_text() + "\n\n\n")
    before = file.read_text()
    assert meshnode("binding", "fmt", file).out == VILLAGE.read_text()
    assert file.read_text() == before
    assert meshnode("binding", "fmt", file, "--write").out == f"{file}: written\n"
    assert file.read_text() == VILLAGE.read_text()


def test_presets_are_listed_and_printed() -> None:
    assert meshnode("binding", "preset").out.split("\n")[:2] == ["mid-market-village", "neighbour-market"]
    assert meshnode("binding", "preset", "neighbour-market", "--language", "it").out == preset("neighbour_market", "it")
    assert complaint("binding", "preset", "utopia").startswith("no preset «utopia»; there are mid_market_village,")


def test_files_that_are_not_there() -> None:
    assert complaint("binding", "check", "/nowhere.zen") == (
        "/nowhere.zen: No such file or directory\n    check the name of the file"
    )
    assert "/nowhere.bin: No such file" in complaint("meter", "decode", "--codec", "sml", "/nowhere.bin")


# --- meters


P1 = (
    b"/ISK5\\2M550T-1012\r\n\r\n1-0:1.8.1(000123.456*kWh)\r\n1-0:1.8.2(000000.000*kWh)\r\n"
    b"1-0:2.8.1(000007.000*kWh)\r\n1-0:2.8.2(000000.000*kWh)\r\n1-0:1.7.0(00.512*kW)\r\n1-0:2.7.0(00.000*kW)\r\n!\r\n"
)


def test_a_capture_is_decoded_to_json() -> None:
    done = spawn("meter", "decode", "--codec", "dsmr", "-", stdin=P1)
    [telegram] = done.json
    assert done.code == 0
    assert telegram["measurement"]["import_wh"] == 123_456
    assert (telegram["measurement"]["export_wh"], telegram["measurement"]["power_w"]) == (7_000, 512)


def test_a_capture_without_a_telegram_is_a_no() -> None:
    done = spawn("meter", "decode", "--codec", "sml", "-", stdin=P1)
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: -: no sml telegram in it\n    is it another kind of meter, or was it cut off?\n"
    assert complaint("meter", "decode", "--codec", "morse", __file__).startswith('codec "morse": there is none')


def test_a_shared_capture(data) -> None:  # type: ignore[no-untyped-def]
    folder = data("telegrams", "sml")
    file = sorted(path for path in folder.iterdir() if path.suffix in (".bin", ".hex", ".txt"))[0]
    assert meshnode("meter", "decode", "--codec", "sml", file).json[0]["codec"] == "sml"


def test_a_meter_is_tried(tmp_path: Path) -> None:
    words = ("meter", "try", "--driver", "simulated", "--set", "seed=4", "--set", "interval_ms=20", "--count", 3)
    lines = meshnode(*words, "--json").out.splitlines()
    assert [json.loads(line)["quality"] for line in lines] == ["simulated"] * 3
    shown = meshnode(*words)
    assert shown.code == 0
    assert re.fullmatch(r"(\d\d:\d\d:\d\d +-?\d+ W  import [\d.]+ k?Wh  export .*  simulated\n){3}", shown.out)


def test_a_meter_that_cannot_be_tried() -> None:
    assert complaint("meter", "try", "--driver", "dsmr", "--port", "/dev/nowhere") == (
        "port /dev/nowhere: there is no such device; expected the name of a serial port\n"
        "    plug the reader in and look for its name with: ls -l /dev/serial/by-id"
    )
    assert 'driver "abacus": there is none of that name' in complaint("meter", "try", "--driver", "abacus")
    assert "key port" in complaint("meter", "try", "--driver", "sml")
    assert "expected key=value" in complaint("meter", "try", "--driver", "simulated", "--set", "seed")


def test_a_silent_meter_is_a_no_and_ctrl_c_is_not_an_error() -> None:
    main_end, meter_end = os.openpty()
    try:
        port = os.ttyname(meter_end)
        said = complaint("meter", "try", "--driver", "dsmr", "--port", port, "--seconds", "0.5", code=1)
        assert said == f"{port}: no measurement\n    is the cable right, and the meter's port switched on?"
    finally:
        os.close(main_end)
        os.close(meter_end)
    words = ["-m", "meshnode", "meter", "try", "--driver", "simulated", "--set", "seed=1", "--set", "interval_ms=20"]
    with subprocess.Popen([sys.executable, *words], env=environment(), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_drivers_and_codecs_are_listed() -> None:
    assert meshnode("meter", "list", "--json").json == {
        "drivers": ["dsmr", "replay", "simulated", "sml"],
        "codecs": ["dsmr", "sml"],
    }


# --- founding, inviting


def test_a_founded_microgrid_has_a_genesis_keys_and_a_configuration(tmp_path: Path) -> None:
    place = tmp_path / "anna"
    found = init(place, "--meter", "driver=simulated,seed=3", "--zone", "Europe/Rome", "--role", "prosumer")
    assert found["roles"] == ["administrator", "prosumer"] and found["metering_points"] == ["home"]
    genesis_bytes = (place / "microgrids" / str(found["chain_id"]) / "genesis.cbor").read_bytes()
    assert hashlib.sha256(genesis_bytes).hexdigest() == found["chain_id"]
    genesis = read_as(Genesis, genesis_bytes)
    assert (genesis.community, genesis.zone, len(genesis.validators)) == ("Via Verdi", "Europe/Rome", 1)
    assert genesis.members[0].name == "anna" and len(genesis.members[0].meters) == 1
    assert {path.name for path in (place / "keys").iterdir()} == {"device.key", "member.key", "meter-home.key"}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (place / "keys").iterdir())
    verified = meshnode("ledger", "verify", place)
    assert verified.code == 0 and "everything holds" in verified.out


def test_founding_says_what_to_do_next_and_what_will_not_be_carried_out(tmp_path: Path) -> None:
    done = meshnode("init", tmp_path / "a", "--community", "C", "--name", "anna", "--preset", "charging-yard")
    if done.code == 0:
        assert "does not carry out all that the binding says" in done.out
    else:
        # A mechanism that is not installed is refused, by name, and nothing is written.
        assert done.code == 2 and "mechanism" in done.err and not (tmp_path / "a").exists()
    done = meshnode("init", tmp_path / "b", "--community", "C", "--name", "anna")
    assert f"meshnode run {tmp_path / 'b'}" in done.out and "meshnode invite" in done.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--zone", "Mars/Base"), "time zone 'Mars/Base' is not known here\n    write it like Europe/Rome"),
        (("--name", "an\tna"), "character 3 (U+0009) is not allowed in names"),
        (("--preset", "utopia"), "no preset «utopia»"),
        (("--binding", "/nowhere"), "/nowhere: No such file or directory"),
        (("--binding", __file__), "the first sentence says the language"),
        (("--binding", "x", "--preset", "y"), "found both"),
        (("--meter", "seed=1"), "no driver\n    write it like driver=dsmr"),
        (("--meter", "driver=abacus"), 'driver "abacus": there is none of that name'),
        (("--meter", "driver=sml,metering_point=a/b"), "give it a name without a slash"),
        (("--meter", "driver=sml", "--meter", "driver=sml,metering_point=home"), "two meters are called home"),
        (("--listen", "0.0.0.0:4170"), "write it like /ip4/192.168.1.20/tcp/4170"),
        (("--joining", "/ip4/1.2.3.4/tcp/70000"), "70000 is no port"),
    ],
)
def test_a_founding_with_a_mistake_writes_nothing(tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    words = ("init", tmp_path / "a", "--community", "Via Verdi", "--name", "anna", *more)
    assert message in complaint(*words)
    assert not (tmp_path / "a").exists()


def test_nothing_is_founded_where_there_is_a_node(tmp_path: Path) -> None:
    init(tmp_path / "a")
    words = ("init", tmp_path / "a", "--community", "Via Verdi", "--name", "anna")
    assert complaint(*words) == f"{tmp_path / 'a'}: there is a node here already\n    choose another directory"


def test_an_invitation_is_a_link_of_which_only_a_hash_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "anna"
    found = init(place, "--joining", "/ip4/127.0.0.1/tcp/4999")
    done = meshnode("invite", place, "--valid", "2h")
    link = read_link(done.out)
    assert link.chain_id.hex() == found["chain_id"]
    assert str(link) == done.out.strip()
    assert [address.split("/p2p/")[0] for address in link.addresses] == ["/ip4/127.0.0.1/tcp/4999"]
    assert abs(link.expires_s - time.time() - 7200) < 60
    kept = [path.read_text() for path in place.rglob("invitations/*")]
    assert len(kept) == 1 and link.secret.hex() not in kept[0]
    assert "meshnode join" in done.err
    other = meshnode("invite", place, "--json").json
    assert other["role"] == "prosumer" and other["id"] != link.id.hex()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--role", "king"), "--role king: the binding admits prosumer (and administrator)"),
        (("--valid", "soon"), "--valid soon: not a duration\n    write it like 30min, 12h or 1d"),
        (("--valid", "90d"), "--valid 90d: expected one minute to 31 days"),
        (("--address", "/ip4/10.0.0.1/tcp/0"), "port 0 is another one at every start"),
        (("--address", "myhouse:4171"), "not of the form /ip4/HOST/tcp/PORT"),
        (("--chain", "ffff"), "0 of the node's microgrids are meant"),
    ],
)
def test_invitations_that_cannot_be_made(tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    init(tmp_path / "a")
    assert message in complaint("invite", tmp_path / "a", *more)


def test_a_node_without_a_door_makes_no_invitations(tmp_path: Path) -> None:
    init(tmp_path / "a", "--joining", "")
    assert "add to [microgrid." in complaint("invite", tmp_path / "a")
    assert "make a node directory with: meshnode init" in complaint("invite", tmp_path / "b")


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("hello", "'hello': not an invitation; expected a link that begins with meshnode:join?"),
        ("meshnode:join?chain=00", "the invitation has no 'id'; it was cut off"),
        ("meshnode:join?chain=00&id=00&secret=00&role=a&expires=1&at=b", "damaged: a part was cut off"),
        (f"meshnode:join?chain={'0' * 64}&id={'0' * 32}&secret=zz&role=a&expires=1&at=b", "is damaged: non-hex"),
    ],
)
def test_links_that_are_none(tmp_path: Path, link: str, message: str) -> None:
    assert message in complaint("join", link, "--name", "zora", "--dir", tmp_path / "z")
    assert not (tmp_path / "z").exists()


def test_a_link_that_has_expired_is_not_even_tried(tmp_path: Path) -> None:
    link = Invitations(tmp_path, bytes(32)).make("prosumer", 1000, (f"/ip4/127.0.0.1/tcp/1/p2p/{'1' * 52}",))
    said = complaint("join", str(link), "--name", "zora", "--dir", tmp_path / "z", code=1)
    assert said.startswith("the invitation has expired")
    assert not (tmp_path / "z").exists()


def test_there_is_an_end_to_invitations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnode.invitations.MAX_INVITATIONS", 2)
    invitations = Invitations(tmp_path, bytes(32))
    for _ in range(2):
        invitations.make("prosumer", 1000, ())
    with pytest.raises(InvitationError, match="2 files, the limit is 2"):
        invitations.make("prosumer", 1000, ())


# --- ledgers and receipts


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node directory with the ledger of a busy morning."""
    directory = tmp_path_factory.mktemp("node")
    a_busy_morning().store(directory)
    return directory


def test_a_ledger_is_verified(ledger: Path) -> None:
    done = meshnode("ledger", "verify", ledger, "--json", "--state-at", 3)
    [chain] = done.json["chains"]
    assert done.code == 0 and done.json["ok"] is True and chain["bad"] is None
    assert chain["blocks"] == chain["final_height"] == 6
    machine = a_busy_morning().replay()
    for block in a_busy_morning().blocks[:3]:
        machine.apply(block)
    state = machine.state_hash()
    assert state is not None and done.json["state_at"] == state.hex() != chain["state_hash"]
    text = meshnode("ledger", "verify", ledger).out
    assert "everything holds" in text and f"state hash    {chain['state_hash']}" in text
    assert spawn("ledger", "verify", MESHNODE_DIR=str(ledger)).code == 0


def test_a_flipped_byte_is_found_and_named(tmp_path: Path) -> None:
    place = a_busy_morning().store(tmp_path)
    file = place / "genesis.cbor"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    done = meshnode("ledger", "verify", tmp_path)
    assert done.code == 1 and "bad: genesis: found SHA-256" in done.out
    assert meshnode("ledger", "verify", tmp_path, "--json").json["chains"][0]["bad"]["part"] == "genesis"


def test_there_is_no_ledger_here(tmp_path: Path) -> None:
    assert "no ledger here; expected the directory of a node" in complaint("ledger", "verify", tmp_path)


def test_a_block_is_shown(ledger: Path) -> None:
    block = meshnode("ledger", "show", 2, "--dir", ledger, "--json").json
    assert [record["kind"] for record in block["records"]] == ["Order", "Order", "Order", "AssetIssue"]
    text = meshnode("ledger", "show", 2, "--dir", ledger).out
    assert text.startswith("block 2 of Unterdorf\n") and "record 0: Order by anna (member key), accepted" in text
    assert complaint("ledger", "show", 99, "--dir", ledger, code=1).endswith("no block 99; it has 1 to 6")


def test_a_receipt_is_written_and_checked_with_the_genesis_alone(ledger: Path, tmp_path: Path) -> None:
    record = meshnode("ledger", "show", 2, "--dir", ledger, "--json").json["records"][2]
    file = tmp_path / "offer.receipt"
    done = meshnode("receipt", record["id"], "--out", file, "--dir", ledger)
    assert done.code == 0 and done.out == f"{file}: {file.stat().st_size} bytes\n"
    [genesis] = ledger.rglob("genesis.cbor")
    checked = meshnode("receipt", "check", file, "--genesis", genesis, "--json").json
    assert (checked["ok"], checked["record_id"], checked["height"]) == (True, record["id"], 2)
    assert checked["member"] == "carla" and checked["fields"] == record["fields"]
    assert ": holds\n" in meshnode("receipt", "check", file, "--dir", ledger).out

    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    assert complaint("receipt", "check", file, "--genesis", genesis, code=1)
    assert "not a receipt" in complaint("receipt", "check", __file__, "--genesis", genesis, code=1)
    assert "genesis" in complaint("receipt", "check", file, "--genesis", __file__)


def test_receipts_of_what_is_not_there(ledger: Path) -> None:
    assert complaint("receipt", "deadbeef", "--dir", ledger).startswith("deadbeef: not a record id\n    it has 64 hex")
    assert "in no final block up to height 6" in complaint("receipt", "ab" * 32, "--dir", ledger, code=1)


# --- asking a node that is not there


def test_a_node_that_does_not_run_is_said_to_be_so(tmp_path: Path) -> None:
    init(tmp_path / "a")
    asked = (
        ("status",),
        ("order", "list"),
        ("order", "buy", "--energy", "1 kWh", "--price", "0.1 EUR/kWh"),
        ("order", "cancel", "ab" * 32),
        ("transfer", "--to", "bela", "--asset", "SUN", "--amount", "1"),
        ("asset", "issue", "SUN", "--cap", "5"),
    )
    for words in asked:
        said = complaint(*words, "--dir", tmp_path / "a")
        assert said == f"{tmp_path / 'a'}: the node is not running\n    start it with: meshnode run {tmp_path / 'a'}"
    assert "config.toml: No such file" in complaint("status", "--dir", tmp_path / "b")


def test_after_a_power_cut_nobody_answers(tmp_path: Path) -> None:
    init(tmp_path / "a")
    page = {"chain_id": "00", "web": "http://127.0.0.1:9"}
    (tmp_path / "a" / "running.json").write_text(json.dumps({"pid": 1, "microgrids": [page], "listen": []}))
    assert complaint("status", "--dir", tmp_path / "a").startswith("http://127.0.0.1:9: no node answers there")
    (tmp_path / "a" / "running.json").write_text("{")
    assert "remove it and start the node again" in complaint("status", "--dir", tmp_path / "a")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--energy", "1,5 kWh", "--price", "0.1 EUR/kWh"), "a comma may mean two things here"),
        (("--energy", "1.5", "--price", "0.1 EUR/kWh"), "the energy has no unit"),
        (("--energy", "1 kWh", "--price", "0.1 USD/kWh"), "the price has the unit USD/kWh, expected EUR/kWh"),
        (("--energy", "1 kWh", "--price", "0.1 EUR/kWh", "--period", "noon"), "--period noon: not a time"),
        (("--energy", "1 kWh", "--price", "0.1 EUR/kWh", "--period", "2026-06-21T14:15"), "a time without its zone"),
    ],
)
def test_orders_that_mean_nothing_are_refused_before_anybody_is_asked(
    tmp_path: Path, more: tuple[str, ...], message: str
) -> None:
    init(tmp_path / "a")
    assert message in complaint("order", "buy", *more, "--dir", tmp_path / "a")


# --- starting a node that cannot start


def test_a_node_that_cannot_start_says_why(tmp_path: Path) -> None:
    place = tmp_path / "a"
    assert "make a node directory with" in complaint("run", place)
    init(place, "--listen", "/ip4/127.0.0.1/tcp/0", "--web", "127.0.0.1:0", "--joining", "")
    config = (place / "config.toml").read_text()
    (place / "config.toml").write_text(config + "colour = 'red'\n[")
    assert "not TOML" in complaint("run", place)
    (place / "config.toml").write_text("nmae = 'anna'\n" + config.replace("name =", "#"))
    assert "config.toml" in complaint("run", place)
    (place / "config.toml").write_text(config)
    key = place / "keys" / "device.key"
    key.chmod(0o644)
    assert f"run: chmod 600 {key}" in complaint("run", place)
    key.chmod(0o600)
    with Store.open(place, bytes.fromhex(next((place / "microgrids").iterdir()).name)):
        assert "in use by another process" in complaint("run", place)


# --- how long it takes to be of use


def test_how_fast_commands_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints milliseconds; what is asserted is only that the heavy libraries stay out."""
    init(tmp_path / "a")
    rows = []
    for words in (("--help",), ("binding", "check", str(VILLAGE)), ("status", "--dir", str(tmp_path / "a"))):
        began = time.perf_counter()
        spawn(*words)
        rows.append(f"{' '.join(words[:2]):16} {round((time.perf_counter() - began) * 1000):5} ms")
        code = f"import sys; sys.argv[1:] = {list(words)!r}\nfrom meshnode.cli.main import main\ntry: main()\n"
        code += "except SystemExit: pass\nprint(*sorted(sys.modules), file=sys.stderr)"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, check=True
        )
        loaded = set(done.stderr.decode().split("\n")[-2].split())
        assert not loaded & {"libp2p", "multiaddr", "starlette", "hypercorn", "rich", "asyncio", "meshnode.machine"}
    with capsys.disabled():
        print("\nstart of a command, Python's own start included:", *rows, sep="\n  ")
