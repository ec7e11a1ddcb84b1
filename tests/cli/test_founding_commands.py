"""Founding, inviting, and asking or starting a node that cannot answer: before anything runs."""

import hashlib
import json
import time
from pathlib import Path

import pytest

from meshnode.cli import trading
from meshnode.invitations import InvitationError, Invitations, read_link
from meshnode.store import Store
from protocols.records import Genesis, read_as
from tests.cli.shell import complaint, init, meshnode
from zencode.presets import preset

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
    assert done.code == 0
    assert "this version does not carry out all that the binding says; it leaves out:\n" in done.out
    assert "\n  contract   the preset charging-yard\n" in done.out
    assert "(administrator)" in done.out.splitlines()[0], "a role that the binding does not know is nobody's"
    assert "\n  buy the need in a falling auction of 15 minutes\n" in done.out
    done = meshnode("init", tmp_path / "b", "--community", "C", "--name", "anna")
    assert "\n  contract   the preset mid-market-village\n" in done.out
    assert f"meshnode run {tmp_path / 'b'}" in done.out and "meshnode invite" in done.out


def test_founding_says_which_contract_it_took(tmp_path: Path) -> None:
    found = init(tmp_path / "a")
    assert (found["preset"], found["binding"]) == ("mid-market-village", "")
    file = tmp_path / "own.zen"
    file.write_text(preset("neighbour-market"))
    found = init(tmp_path / "b", "--binding", file)
    assert (found["preset"], found["binding"]) == ("", str(file))
    assert "(default: mid-market-village)" in " ".join(meshnode("init", "--help").out.split())


def test_the_mistakes_of_a_contract_are_said_with_its_file_and_found_nothing(tmp_path: Path) -> None:
    file, place = tmp_path / "own.zen", tmp_path / "a"
    contract = preset("neighbour-market")
    file.write_text(contract + "a sun settles at noon\nthe moon pays twice\n")
    end = len(contract.splitlines())
    said = complaint("init", place, "--community", "Via Verdi", "--name", "anna", "--binding", file)
    places = [line.partition(": «")[0] for line in said.splitlines() if not line.startswith("    ")]
    assert places == [f"{file}: line {end + 1}, column 1", f"{file}: line {end + 2}, column 1"]
    file.write_text(contract.replace("the settlement period is 15 minutes", "the settlement period is 7 minutes"))
    said = complaint("init", place, "--community", "Via Verdi", "--name", "anna", "--binding", file)
    assert said.startswith(f"{file}: ") and said.endswith(f"see the lines with: meshnode binding check {file}")
    assert not place.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--zone", "Mars/Base"), "time zone 'Mars/Base' is not known here\n    write it like Europe/Rome"),
        (("--name", "an\tna"), "character 3 (U+0009) is not allowed in names"),
        (("--preset", "utopia"), "no preset «utopia»"),
        (("--preset", "island-order-book"), "with\n      match orders in a continuous order book\n"),
        (("--binding", "/nowhere"), "/nowhere: No such file or directory"),
        (("--binding", __file__), "the first sentence says the language"),
        (("--binding", "x", "--preset", "y"), "found both"),
        (("--meter", "seed=1"), "no driver\n    write it like driver=dsmr"),
        (("--meter", "driver=abacus"), 'driver "abacus": there is none of that name'),
        (("--meter", "driver=simulated"), "--meter driver=simulated: meter home, key seed: object missing required"),
        (("--meter", "driver=dsmr,prt=/dev/x"), "--meter driver=dsmr,prt=/dev/x: meter home, key p"),
        (("--meter", "driver=sml,metering_point=a/b"), "give it a name without a slash"),
        (
            ("--meter", "driver=sml,port=a", "--meter", "driver=sml,port=b,metering_point=home"),
            "two meters are called home",
        ),
        (("--listen", "0.0.0.0:4170"), "write it like /ip4/192.168.1.20/tcp/4170"),
        (("--joining", "/ip4/1.2.3.4/tcp/70000"), "70000 is no port"),
        (("--web", "banana"), "--web: 'banana' is no address of a page\n    write it like 127.0.0.1:8170"),
        (("--web", ":8170"), "--web: ':8170' is no address of a page"),
        (("--web", "127.0.0.1:99999"), "--web: '127.0.0.1:99999': there is no port 99999\n    choose one up to 65535"),
        (("--role", "king"), "--role king: the binding has no such role\n    it has admin, administrator, prosumer"),
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
        (
            f"meshnode:join?chain={'0' * 64}&id={'0' * 32}&secret={'0' * 64}&role=prosumer&expires=9999999999&at=b",
            "address 'b': not of the form /ip4/HOST/tcp/PORT",
        ),
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


# --- asking a node that is not there


def test_a_node_that_does_not_run_is_said_to_be_so(tmp_path: Path) -> None:
    init(tmp_path / "a")
    asked = (
        ("status",),
        ("order", "list"),
        ("order", "buy", "--energy", "1 kWh", "--price", "0.1 EUR/kWh"),
        ("order", "amend", "ab" * 32, "--energy", "1 kWh", "--price", "0.1 EUR/kWh"),
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


def test_nobody_acts_in_one_of_several_microgrids_without_saying_in_which(tmp_path: Path) -> None:
    init(tmp_path)
    (tmp_path / "api.token").write_text("token")
    pages = [{"chain_id": digits * 32, "web": "http://127.0.0.1:9"} for digits in ("aa", "ab")]
    (tmp_path / "running.json").write_text(json.dumps({"pid": 1, "microgrids": pages, "listen": []}))
    for words in (("status",), ("transfer", "--to", "bela", "--asset", "SUN", "--amount", "1"), ("order", "list")):
        for chain, meant in (("", 2), ("a", 2), ("c", 0)):
            assert complaint(*words, "--chain", chain, "--dir", tmp_path) == (
                f"{tmp_path}: {meant} of the node's microgrids are meant\n"
                f"    --chain {'aa' * 8}\n    --chain {'ab' * 8}"
            )
    assert complaint("status", "--chain", "AB", "--dir", tmp_path).startswith("http://127.0.0.1:9: no node answers")


@pytest.mark.parametrize("written", ["abc", "é" * 64, "ab" * 31])
def test_what_is_no_orders_id_is_said_before_anybody_is_asked(tmp_path: Path, written: str) -> None:
    assert complaint("order", "cancel", written, "--dir", tmp_path) == (
        f"{written}: not an order's id\n    it has 64 hex digits; see: meshnode order list"
    )


def test_a_lone_validator_is_one_validator() -> None:
    meter = {"name": "home", "state": "reading", "telegrams": 1, "problem": ""}
    found = dict.fromkeys(("name", "community", "web", "role", "leader", "state_hash", "halted"), "") | {
        "clock_s": 0,
        "demonstration": False,
        "height": 1,
        "peers": 0,
        "rss_mb": 60,
        "meters": [meter],
        "validators": 1,
        "mempool": 1,
    }
    said = [" ".join(line.split()) for line in trading._describe(found).splitlines()]
    assert {"peers 0, 1 validator", "waiting 1 record", "meter home reading, 1 telegram"} <= set(said)
    several = trading._describe(found | {"validators": 3, "mempool": 0})
    assert "0, 3 validators" in several and "0 records" in several


def test_a_role_is_said_in_words_and_that_nobody_leads() -> None:
    for role, leader, said in (
        ("follower", "anna", "follower, anna leads"),
        ("pre_candidate", "", "candidate, nobody leads: nothing becomes final meanwhile"),
        ("learner", "", "learner"),
    ):
        assert trading._role({"role": role, "leader": leader}) == said


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
        left_behind = {"pid": 1, "microgrids": [{"chain_id": "00", "web": "http://127.0.0.1:9"}], "listen": []}
        (place / "running.json").write_text(json.dumps(left_behind))
        assert "in use by another process" in complaint("run", place), "what a power cut left behind tells nothing"


def test_a_damaged_outbox_is_one_sentence(tmp_path: Path) -> None:
    place = tmp_path / "a"
    found = init(place, "--listen", "/ip4/127.0.0.1/tcp/0", "--web", "127.0.0.1:0", "--joining", "")
    outbox = place / "microgrids" / str(found["chain_id"]) / "outbox.sqlite"
    outbox.write_bytes(b"no database at all" * 300)
    said = complaint("run", place)
    assert said.startswith(f"{outbox}: file is not a database") and "move the file away" in said


HIDDEN = ("--listen", "/ip4/127.0.0.1/tcp/0", "--web", "127.0.0.1:0", "--joining", "")


def test_a_section_of_a_microgrid_that_is_not_here_is_no_silent_matter(tmp_path: Path) -> None:
    place = tmp_path / "a"
    chain_id = str(init(place, *HIDDEN)["chain_id"])
    config = place / "config.toml"
    config.write_text(config.read_text().replace(chain_id, "ab" * 32))
    assert complaint("run", place) == (
        f"{config}, microgrid.{'ab' * 32}: this node is in no such microgrid\n"
        f"    it is in {chain_id}; correct or remove the section"
    )


def test_a_genesis_that_is_gone_is_asked_for_and_no_other_microgrid_suggested(tmp_path: Path) -> None:
    place = tmp_path / "a"
    chain_id = str(init(place, *HIDDEN)["chain_id"])
    genesis = place / "microgrids" / chain_id / "genesis.cbor"
    genesis.unlink()
    for words in (("run", place), ("ledger", "verify", place), ("ledger", "verify", genesis.parent)):
        said = complaint(*words)
        assert said.startswith(f"{genesis}: is missing\n    copy it from another member's node")
        assert "init" not in said and "join" not in said


def test_a_meter_section_without_a_key_hears_how_meters_come_to_be(tmp_path: Path) -> None:
    place = tmp_path / "a"
    init(place, *HIDDEN)
    config = place / "config.toml"
    before = config.read_text()
    config.write_text(before + '\n[[meter]]\ndriver = "sml"\nport = "/dev/x"\nmetering_point = "home"\n')
    said = complaint("run", place)
    assert said.startswith(f"{config}, meter home: it has no key ({place / 'keys' / 'meter-home.key'})\n")
    assert "named when their member founded or joined (--meter)" in said
    config.write_text(before + '\n[[meter]]\ndriver = "abacus"\nmetering_point = "home"\n')
    assert complaint("run", place).startswith('driver "abacus": there is none of that name')


@pytest.mark.parametrize(
    ("own", "others", "message"),
    [
        (("device.key",), "device.key", "keys/device.key: the ledger does not know this key; member.key is anna's"),
        (("member.key",), "member.key", "keys/member.key: the ledger does not know this key; device.key is anna's"),
        (("device.key",), "member.key", "on the ledger this is a member key of anna, expected the device key"),
    ],
)
def test_a_node_does_not_start_with_somebody_elses_keys(
    tmp_path: Path, own: tuple[str, ...], others: str, message: str
) -> None:
    anna, bela = tmp_path / "anna", tmp_path / "bela"
    init(anna, *HIDDEN)
    init(bela, *HIDDEN)
    source = anna if message.startswith("on") else bela
    (anna / "keys" / own[0]).write_text((source / "keys" / others).read_text())
    assert message in complaint("run", anna)
