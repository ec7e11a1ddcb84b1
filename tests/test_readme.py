"""Readme: what it tells people to type is understood, and the tables say what the program knows."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import msgspec
import pytest

from drivers.driver import driver_names
from drivers.replay import ReplayConfig
from drivers.serial_meter import SerialMeterConfig
from drivers.simulated import SimulatedConfig
from meshnode import config
from meshnode.cli.main import app
from meshnode.cli.output import NO, PENDING, STOPPED
from meshnode.cli.parser import FINE, MEND
from meshnode.market.registry import BUILTIN
from zencode.presets import NAMES

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = [block.replace("\\\n", " ") for block in re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)]
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if re.match(r"(sudo -u \w+ )?\S*meshnode ", line)]
CONFIGS = {"dsmr": SerialMeterConfig, "simulated": SimulatedConfig, "replay": ReplayConfig}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0], comments=True)
    if words[0] == "sudo":
        words = words[3:]
    command, arguments = app.find(words[1:], "meshnode")
    inspect.signature(command).bind(**arguments)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 12


@pytest.mark.parametrize("name", CONFIGS)
def test_a_drivers_keys_are_listed_and_those_that_it_must_have_are_bold(name: str) -> None:
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}` |"))
    keys = {field.name: field for field in msgspec.structs.fields(CONFIGS[name])}
    for key in ("metering_point", "driver"):
        del keys[key]
    listed = set(re.findall(r"`([a-z_]+)`", row.split("|")[3]))
    assert listed == set(keys)
    assert set(re.findall(r"\*\*`([a-z_]+)`\*\*", row)) == {key for key, field in keys.items() if field.required}


def test_every_driver_has_a_row() -> None:
    assert all(f"| `{name}` |" in README for name in driver_names())


def test_every_mechanism_has_a_row() -> None:
    assert all(f"| `{name}` |" in README for name in BUILTIN)


def test_the_settings_are_listed() -> None:
    for table, kind in (("network", config.Network), ("web", config.Web), ("microgrid.CHAIN_ID", config.Microgrid)):
        for field in msgspec.structs.fields(kind):
            assert f"| `[{table}]` `{field.name}` |" in README
    assert all(f'`"{profile}"`' in README for profile in config.PROFILES)


def test_every_exit_code_and_every_preset_is_spoken_of() -> None:
    for code in (FINE, NO, MEND, PENDING, STOPPED):
        assert f"\n| {code} | " in README
    for name in NAMES:
        assert f"`{name.replace('_', '-')}`" in README
        assert name not in README
