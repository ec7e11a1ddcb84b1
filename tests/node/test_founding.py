"""Founding: what a microgrid begins with is whole, and the same for everybody who reads it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from meshnode import config, founding, keys
from meshnode.config import CONFIG_FILE, ConfigError
from meshnode.founding import ZONE_YEARS, NodeKeys, zone_changes
from meshnode.keys import KeyFileError
from meshnode.store import Store, StoreError, read_genesis
from protocols.records import CLOCK_DEMONSTRATION, Clock, Genesis, MemberEntry, chain_id, read_as, to_payload
from tests.source import ROOT
from zencode.mistakes import BindingErrors
from zencode.presets import preset

START_S = int(datetime(2026, 6, 21, tzinfo=UTC).timestamp())
CHAIN = "9f" * 32


def home(name: str, *points: str) -> NodeKeys:
    """A home's keys, the same in every run."""
    return NodeKeys(key(f"{name} device"), key(name), {point: key(f"{name} {point}") for point in points or ("home",)})


def key(name: str) -> keys.SigningKey:
    return keys.SigningKey(name.encode().ljust(32, b"."))


ANNA, BELA = home("anna"), home("bela", "house", "barn")
MEMBERS = [ANNA.entry("anna", ["prosumer", "administrator"]), BELA.entry("bela", ["prosumer"])]


def found(**changes: Any) -> Genesis:
    chosen: dict[str, Any] = {
        "community": "Via Verdi",
        "binding_text": preset("neighbour_market"),
        "members": MEMBERS,
        "validators": [ANNA.device.public, BELA.device.public],
        "start_s": START_S,
        "zone": "Europe/Vienna",
    }
    return founding.found(**(chosen | changes))


# --- genesis


def test_a_genesis_comes_back_from_its_bytes_with_the_same_chain_id() -> None:
    genesis = found()
    again = read_as(Genesis, to_payload(genesis))
    assert again == genesis and chain_id(again) == chain_id(genesis)
    assert (genesis.community, genesis.start_s, genesis.zone) == ("Via Verdi", START_S, "Europe/Vienna")
    assert genesis.binding_text.decode() == preset("neighbour_market")
    assert [entry.device_key for entry in genesis.validators] == sorted([ANNA.device.public, BELA.device.public])
    assert genesis.members[0].roles == ("administrator", "prosumer")
    assert [meter.metering_point for meter in genesis.members[1].meters] == ["barn", "house"]


def test_the_order_of_validators_does_not_matter_and_everything_else_does() -> None:
    here = chain_id(found())
    assert chain_id(found(validators=[BELA.device.public, ANNA.device.public])) == here
    others: list[dict[str, Any]] = [
        {"community": "Via Rossi"},
        {"start_s": START_S + 1},
        {"zone": "Europe/Rome"},
        {"max_drift_s": 11},
        {"members": MEMBERS[:1], "validators": [ANNA.device.public]},
        {"validators": [ANNA.device.public]},
        {"binding_text": preset("mid_market_village")},
        {"clock": Clock(kind=CLOCK_DEMONSTRATION, speed=60, origin_s=1, shows_s=2)},
    ]
    ids = {chain_id(found(**other)) for other in others}
    assert len(ids) == len(others) and here not in ids


def test_without_a_start_it_begins_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnode.founding.time.time", lambda: START_S + 7.9)
    assert found(start_s=None).start_s == START_S + 7


def test_a_ledger_is_begun_once(tmp_path: Path) -> None:
    genesis = found()
    founding.place_ledger(tmp_path, genesis)
    with Store.open(tmp_path, chain_id(genesis)) as store:
        assert read_as(Genesis, read_genesis(store.place)) == genesis
        assert store.final_height() == 0
    with pytest.raises(StoreError):
        founding.place_ledger(tmp_path, genesis)


def twice(members: Sequence[MemberEntry]) -> dict[str, Any]:
    return {"members": members, "validators": [ANNA.device.public]}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a name twice": (twice([MEMBERS[0], BELA.entry("anna", ["prosumer"])]), "anna"),
    "a key twice": (twice([MEMBERS[0], ANNA.entry("bela", ["prosumer"])]), "key"),
    "a mechanism that is not installed": ({"binding_text": preset("island_order_book")}, "continuous order book"),
    "nobody votes": ({"validators": []}, "validators"),
    "a stranger votes": ({"validators": [key("stranger").public]}, ""),
    "nobody at all": ({"members": [], "validators": []}, ""),
    "no name": ({"community": ""}, "community"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_founded_is_refused_before_anybody_relies_on_it(fault: str) -> None:
    changes, word = FAULTS[fault]
    with pytest.raises(ConfigError, match=r"^the microgrid cannot be founded: ") as refused:
        found(**changes)
    assert word in str(refused.value)


def test_a_contract_that_nobody_can_read_is_refused_with_its_line() -> None:
    with pytest.raises(BindingErrors) as refused:
        found(binding_text=preset("neighbour_market") + "\nAnd everybody is happy\n")
    assert "happy" in str(refused.value)


# --- keys


def test_a_new_node_has_its_keys_and_only_its_owner_reads_them(tmp_path: Path) -> None:
    made = founding.make_keys(tmp_path, ["home", "barn"])
    place = tmp_path / "keys"
    assert sorted(path.name for path in place.iterdir()) == [
        "device.key",
        "member.key",
        "meter-barn.key",
        "meter-home.key",
    ]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in place.iterdir())
    assert keys.load(place / "device.key").public == made.device.public
    assert keys.load(place / "meter-barn.key").public == made.meters["barn"].public
    assert len({made.device.seed, made.member.seed, *(key.seed for key in made.meters.values())}) == 4
    with pytest.raises(KeyFileError, match="there is a key already"):
        founding.make_keys(tmp_path, ["home"])
    assert keys.load(place / "device.key").seed == made.device.seed


# --- time zones


def offset_at(table: Sequence[tuple[int, int]], at_s: int) -> int:
    """What the table says at a second."""
    return [offset for since, offset in table if since <= at_s][-1]


def offset_of(zone: str, at_s: int) -> int:
    """What the time zone data of this computer say."""
    shift = datetime.fromtimestamp(at_s, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert shift is not None
    return int(shift / timedelta(seconds=1))


def test_vienna_changes_on_the_last_sundays_of_march_and_october() -> None:
    table = zone_changes("Europe/Vienna", START_S)
    changes = [(datetime.fromtimestamp(since, UTC), offset) for since, offset in table[1:]]
    assert table[0] == (0, 7200)
    assert [(when.strftime("%Y-%m-%d %H:%M"), offset) for when, offset in changes[:4]] == [
        ("2026-10-25 01:00", 3600),
        ("2027-03-28 01:00", 7200),
        ("2027-10-31 01:00", 3600),
        ("2028-03-26 01:00", 7200),
    ]
    assert all(when.weekday() == 6 for when, _ in changes)
    assert len(changes) == 2 * ZONE_YEARS
    assert [since for since, _ in table] == sorted({since for since, _ in table})
    assert all(before != after for (_, before), (_, after) in pairwise(table)), "a row that changes nothing"


@pytest.mark.parametrize(
    "zone",
    [
        *("Europe/Vienna", "Europe/Rome", "Europe/Dublin", "America/New_York", "UTC"),
        # The southern summer, a half-hour change, odd offsets, no change at all, changes for Ramadan.
        *("Australia/Sydney", "America/Santiago", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"),
    ],
)
def test_a_table_says_what_the_zone_data_say(zone: str) -> None:
    """At every change and the second before it, and every eleven days in between."""
    table = zone_changes(zone, START_S)
    instants = [second for since, _ in table[1:] for second in (since - 1, since)]
    instants += range(START_S, START_S + 29 * 365 * 86_400, 11 * 86_400 + 3601)
    assert [offset_at(table, second) for second in instants] == [offset_of(zone, second) for second in instants]


def test_kathmandu_never_changes() -> None:
    assert zone_changes("Asia/Kathmandu", START_S) == ((0, 20_700),)


def test_sydney_has_its_summer_in_january() -> None:
    table = zone_changes("Australia/Sydney", START_S)
    winter, summer = START_S, START_S + 200 * 86_400
    assert (offset_at(table, winter), offset_at(table, summer)) == (36_000, 39_600)


@pytest.mark.parametrize("late_s", [-1, 0, 1, 3600])
def test_a_microgrid_that_is_founded_at_a_change_knows_it(late_s: int) -> None:
    change = int(datetime(2026, 10, 25, 1, tzinfo=UTC).timestamp())
    table = zone_changes("Europe/Vienna", change + late_s)
    assert table[0] == (0, 7200 if late_s < 0 else 3600)
    assert (change in dict(table[1:])) == (late_s < 0)
    assert offset_at(table, change + 1) == 3600


@pytest.mark.parametrize("zone", ["Vienna", "Europe/Wien", "", "Europe", "../etc/passwd", "/etc/localtime", "a\0b"])
def test_an_unknown_zone_is_refused_with_an_example(zone: str) -> None:
    with pytest.raises(ConfigError) as refused:
        found(zone=zone)
    assert str(refused.value) == (
        f"time zone {zone!r} is not known here\n    write it like Europe/Rome; if that is not known, install tzdata"
    )


# --- configuration


def write(directory: Path, **changes: Any) -> config.Config:
    """A configuration written, and read again as a node does."""
    given: dict[str, Any] = {
        "name": "anna",
        "listen": ["/ip4/0.0.0.0/tcp/4170"],
        "web": "127.0.0.1:8170",
        "microgrids": {CHAIN: {"peers": ["/ip4/10.0.0.2/tcp/4170/p2p/12D"], "joining": "/ip4/0.0.0.0/tcp/4171"}},
        "meters": [{"driver": "dsmr", "metering_point": "home", "port": "/dev/ttyUSB0"}],
    }
    founding.write_config(directory, **(given | changes))
    return config.load(directory)


def test_a_configuration_is_read_as_it_was_written(tmp_path: Path) -> None:
    read = write(tmp_path / "new" / "node", profile="sd-card")
    assert (read.name, read.network.listen, read.web.listen) == ("anna", ("/ip4/0.0.0.0/tcp/4170",), "127.0.0.1:8170")
    assert read.network.profile == "sd-card"
    assert read.microgrid[CHAIN].peers == ("/ip4/10.0.0.2/tcp/4170/p2p/12D",)
    assert read.microgrid[CHAIN].joining == "/ip4/0.0.0.0/tcp/4171"
    assert read.meter[0].settings == {"driver": "dsmr", "metering_point": "home", "port": "/dev/ttyUSB0"}
    assert (tmp_path / "new" / "node" / CONFIG_FILE).read_text().startswith("# Settings of this node. Stop it before")


def test_an_existing_configuration_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError) as refused:
        write(tmp_path, name="bela")
    assert str(refused.value) == (
        f"{tmp_path / CONFIG_FILE}: there is a node here already\n    choose another directory"
    )
    assert config.load(tmp_path).name == "anna"


AWKWARD = [
    'say "hi"',
    "C:\\Users\\anna\\",
    "Bärbel 🌞 Šárka",
    "two\nlines\ttabbed\r",
    "\x00\x1f\x7f\x80\u2028",
    "it's '''quoted'''",
    '"""',
    "# no comment",
    "[network]",
]


@pytest.mark.parametrize("text", AWKWARD)
def test_awkward_texts_come_back_as_they_were(tmp_path: Path, text: str) -> None:
    section = {"driver": "x", "metering_point": "home", "path": text, "deep": {"list": [text, {"again": text}]}}
    read = write(tmp_path, name=text, meters=[section])
    assert read.name == text
    assert read.meter[0].settings == section


texts = some.text(some.characters(exclude_categories=["Cs"]), max_size=20)
values = some.recursive(
    some.booleans() | some.integers(-(2**63), 2**63 - 1) | some.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(some.dictionaries(texts, values, max_size=5))
def test_every_table_of_values_comes_back(table: dict[str, Any]) -> None:
    assert tomllib.loads("\n".join(founding._pairs(table))) == table


def test_a_configuration_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    """In a process whose files are ASCII unless it says otherwise."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    script = (
        "import locale, sys; from pathlib import Path; from meshnode.founding import write_config\n"
        "assert locale.getencoding().lower() not in ('utf-8', 'utf8')\n"
        "write_config(Path(sys.argv[1]), '\\u0160\\xe1rka', listen=[], web='', microgrids={}, meters=[])"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path], env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert config.load(tmp_path).name == "Šárka"
