"""Config: what a person writes is read as meant, or refused with place, finding and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshnode import config
from meshnode.config import CONFIG_FILE, MAX_CONFIG_BYTES, PROFILES, Config, ConfigError, Microgrid, Rehearsal

CHAIN = "9f" * 32
WHOLE = f"""
name = "anna"

[network]
listen = ["/ip4/0.0.0.0/tcp/4170", "/ip4/127.0.0.1/tcp/4171"]
profile = "sd-card"

[web]
listen = "127.0.0.1:8170"

[microgrid.{CHAIN}]
peers = ["/ip4/192.168.1.20/tcp/4170/p2p/12D3KooW"]
joining = "/ip4/0.0.0.0/tcp/4172"

[[meter]]
driver = "dsmr"
metering_point = "home"
port = "/dev/ttyUSB0"

[[meter]]
driver = "simulated"
metering_point = "barn"
key = "old-barn.key"
seed = 7
rehearsal = {{ silent_periods = [3], late_periods = [4, 5], late_by = 1 }}
"""


def meter(*lines: str) -> str:
    """A configuration with one meter."""
    return "\n".join(('name = "anna"', "[[meter]]", *lines))


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as refused:
        config.parse(text, "config.toml")
    return str(refused.value)


def test_a_whole_configuration() -> None:
    read = config.parse(WHOLE, "config.toml")
    assert (read.name, read.web.listen) == ("anna", "127.0.0.1:8170")
    assert read.network.listen == ("/ip4/0.0.0.0/tcp/4170", "/ip4/127.0.0.1/tcp/4171")
    assert read.timing is PROFILES["sd-card"]
    assert read.microgrid == {
        CHAIN: Microgrid(peers=("/ip4/192.168.1.20/tcp/4170/p2p/12D3KooW",), joining="/ip4/0.0.0.0/tcp/4172")
    }
    home, barn = read.meter
    assert (home.driver, home.metering_point, home.key, home.rehearsal) == ("dsmr", "home", "meter-home.key", None)
    # A driver gets its section as it stands, without what belongs to the node.
    assert home.settings == {"driver": "dsmr", "metering_point": "home", "port": "/dev/ttyUSB0"}
    assert barn.settings == {"driver": "simulated", "metering_point": "barn", "seed": 7}
    assert barn.key == "old-barn.key"
    assert barn.rehearsal == Rehearsal(silent_periods=(3,), late_periods=(4, 5), late_by=1)


def test_a_name_is_enough() -> None:
    assert config.parse('name = "anna"', "config.toml") == Config(name="anna")
    assert Config(name="anna").timing is PROFILES["lan"]


def test_every_profile_lets_a_leader_be_heard_before_it_is_replaced() -> None:
    for timing in PROFILES.values():
        assert 3 * timing.heartbeat_ticks <= timing.election_ticks
        assert 0 < timing.block_interval_s <= timing.election_ticks * timing.tick_s


TOP = "\n    the keys here are: name, network, web, microgrid, meter"
MISTAKES = {
    "": f"config.toml: it lacks the key `name`{TOP}",
    "name = 1": f"config.toml, name: expected a text, got a whole number{TOP}",
    'name = "anna"\nmetre = 3': f"config.toml: there is no key `metre`{TOP}",
    'name = "anna"\nmeter = 3': f"config.toml, meter: expected a list, got a whole number{TOP}",
    'name = "anna"\nmeter = [1]': f"config.toml, meter[0]: expected a table, got a whole number{TOP}",
    'name = "anna"\n[network]\nlisten = "/ip4/0.0.0.0/tcp/1"': (
        "config.toml, network.listen: expected a list, got a text\n    the keys here are: listen, profile"
    ),
    'name = "anna"\n[network]\nlisten = [1.5]': (
        "config.toml, network.listen[0]: expected a text, got a number\n    the keys here are: listen, profile"
    ),
    'name = "anna"\n[network]\nport = 1': (
        "config.toml, network: there is no key `port`\n    the keys here are: listen, profile"
    ),
    'name = "anna"\n[network]\nprofile = "raspberry"': (
        "config.toml, network.profile: 'raspberry' is not known\n    profiles are: lan, sd-card"
    ),
    'name = "anna"\n[web]\nlisten = true': (
        "config.toml, web.listen: expected a text, got true or false\n    the keys here are: listen"
    ),
    'name = "anna"\nmicrogrid = 1': f"config.toml, microgrid: expected a table, got a whole number{TOP}",
    'name = "anna"\n[microgrid.Verdi]': (
        "config.toml, microgrid.Verdi: not a chain id (64 hex digits)\n    take it from: meshnode status"
    ),
    f'name = "anna"\n[microgrid.{"9F" * 32}]': (
        f"config.toml, microgrid.{'9F' * 32}: not a chain id (64 hex digits)\n    take it from: meshnode status"
    ),
    f'name = "anna"\n[microgrid.{CHAIN}]\npeer = []': (
        f"config.toml, microgrid.{CHAIN}: there is no key `peer`\n"
        "    the keys here are: peers, joining, replace_after_s"
    ),
    f'name = "anna"\n[microgrid.{CHAIN}]\njoining = 4172': (
        f"config.toml, microgrid.{CHAIN}, joining: expected a text, got a whole number\n"
        "    the keys here are: peers, joining, replace_after_s"
    ),
    meter('metering_point = "home"'): 'config.toml, meter 1: driver is missing\n    write a line like: driver = "..."',
    meter('driver = "sml"'): (
        'config.toml, meter 1: metering_point is missing\n    write a line like: metering_point = "..."'
    ),
    meter('driver = ["sml"]', 'metering_point = "home"'): (
        "config.toml, meter 1: driver is ['sml'], not a text\n    write a line like: driver = \"...\""
    ),
    meter('driver = "sml"', 'metering_point = "../home"'): (
        "config.toml, meter 1: key 'meter-../home.key' is not a file name\n    key files lie in the folder keys"
    ),
    meter('driver = "sml"', 'metering_point = "home"', 'key = "/etc/passwd"'): (
        "config.toml, meter 1: key '/etc/passwd' is not a file name\n    key files lie in the folder keys"
    ),
    meter('driver = "sml"', 'metering_point = "home"', 'key = ".."'): (
        "config.toml, meter 1: key '..' is not a file name\n    key files lie in the folder keys"
    ),
    meter('driver = "sml"', 'metering_point = "home"', "key = 7"): (
        "config.toml, meter 1: key 7 is not a file name\n    key files lie in the folder keys"
    ),
    meter('driver = "sml"', 'metering_point = "home"', "rehearsal = { late = [1] }"): (
        "config.toml, meter 1, rehearsal: there is no key `late`\n"
        "    the keys here are: silent_periods, late_periods, late_by"
    ),
    meter('driver = "sml"', 'metering_point = "home"', 'rehearsal = { late_by = "two" }'): (
        "config.toml, meter 1, rehearsal, late_by: expected a whole number, got a text\n"
        "    the keys here are: silent_periods, late_periods, late_by"
    ),
    meter('driver = "sml"', 'metering_point = "home"', "[[meter]]", 'driver = "dsmr"', 'metering_point = "home"'): (
        "config.toml: two meters have the metering_point 'home'\n    give each meter its own metering_point"
    ),
    meter(
        *('driver = "sml"', 'metering_point = "a"', 'key = "meter-b.key"'),
        *("[[meter]]", 'driver = "dsmr"', 'metering_point = "b"'),
    ): "config.toml: two meters have the key 'meter-b.key'\n    give each meter its own key",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_its_remedy(text: str) -> None:
    assert complaint(text) == MISTAKES[text]


def test_all_mistakes_of_a_configuration_are_told_at_once() -> None:
    said = complaint(
        """
metre = 3
[network]
listen = 4170
profile = "raspberry"
[microgrid.Verdi]
peer = []
[[meter]]
metering_point = "home"
[[meter]]
driver = "sml"
metering_point = "barn"
rehearsal = { late = [1], late_by = "two" }
[[meter]]
driver = "sml"
metering_point = "shed"
[[meter]]
driver = "dsmr"
metering_point = "shed"
"""
    )
    places = [line for line in said.splitlines() if not line.startswith("    ")]
    assert places == [
        "config.toml: there is no key `metre`",
        "config.toml: it lacks the key `name`",
        "config.toml, network.listen: expected a list, got a whole number",
        "config.toml, network.profile: 'raspberry' is not known",
        "config.toml, microgrid.Verdi: not a chain id (64 hex digits)",
        "config.toml, microgrid.Verdi: there is no key `peer`",
        "config.toml, meter 1: driver is missing",
        "config.toml, meter 2, rehearsal: there is no key `late`",
        "config.toml, meter 2, rehearsal, late_by: expected a whole number, got a text",
        "config.toml: two meters have the metering_point 'shed'",
    ]
    assert len(said.splitlines()) == 2 * len(places), "each with its remedy"


def test_what_is_no_toml_is_told_with_its_line() -> None:
    said = complaint('name = "anna"\nlisten = = 3\n')
    assert said.startswith("config.toml: not TOML: ") and "line 2" in said
    assert said.endswith("\n    correct that line")
    assert "not TOML" in complaint('name = "anna"\nname = "bela"'), "a key given twice"


def test_a_member_has_sixteen_meters_and_not_one_more() -> None:
    sections = [f'[[meter]]\ndriver = "sml"\nmetering_point = "flat {number}"' for number in range(17)]
    assert len(config.parse("\n".join(('name = "anna"', *sections[:16])), "config.toml").meter) == 16
    assert complaint("\n".join(('name = "anna"', *sections))) == (
        "config.toml: 17 meters; a member has at most 16\n    remove those that are not used"
    )


def test_a_directory_without_configuration_is_named_with_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        config.load(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / CONFIG_FILE}: No such file or directory\n"
        "    make a node directory with: meshnode init, or: meshnode join"
    )


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    path.write_text('name = "anna"\n'.ljust(MAX_CONFIG_BYTES, "#"))
    assert config.load(tmp_path).name == "anna"
    with path.open("wb") as file:
        # A hole of a terabyte: whoever reads it all will not come to an end.
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="larger than 262144 bytes; this is not a node's configuration"):
        config.load(tmp_path)


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_FILE
    path.write_bytes('# Gemeinde\nname = "Bärbel"\n'.encode("latin-1"))
    with pytest.raises(ConfigError) as refused:
        config.load(tmp_path)
    assert str(refused.value) == f"{path}:2: byte 0xe4 is not UTF-8\n    save the file as UTF-8"
    path.write_text('name = "Bärbel"\n', encoding="utf-8")
    assert config.load(tmp_path).name == "Bärbel"
