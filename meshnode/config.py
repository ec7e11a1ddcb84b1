"""Config: the node's settings, one TOML file a person can read and edit.

```toml
name = "anna"

[network]
listen = ["/ip4/0.0.0.0/tcp/4170"]
profile = "lan"                     # "sd-card" for slow disks

[web]
listen = "127.0.0.1:8170"

[microgrid.9f2c...]                 # one section per microgrid, by chain id
peers = ["/ip4/192.168.1.20/tcp/4170/p2p/12D3KooW..."]

[[meter]]
driver = "dsmr"
metering_point = "home"
port = "/dev/serial/by-id/usb-FTDI_P1_cable-if00-port0"
```

A meter's section goes to its driver; only `key` (the meter's key file, below the
node's `keys` folder) and `rehearsal` belong to the node.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

CONFIG_FILE = "config.toml"
KEYS_DIRECTORY = "keys"
TOKEN_FILE = "api.token"
# Bigger is not a configuration.
MAX_CONFIG_BYTES = 256 * 1024
# A home has a handful of meters; the bound is the one of the ledger.
MAX_METERS = 16
# Longer than a night without power or an evening's repair, shorter than two.
REPLACE_AFTER_S = 12 * 3600
# Ports are 16 bits wide.
LAST_PORT = 65_535


class ConfigError(Exception):
    """A configuration that cannot be used: the place, what was found, and what to do."""


class Timing(msgspec.Struct, frozen=True):
    """Timers of consensus: real seconds of a tick, and the rest in ticks."""

    tick_s: float
    heartbeat_ticks: int
    election_ticks: int
    block_interval_s: float


PROFILES: dict[str, Timing] = {
    # A tick of 50 ms: heartbeat 250 ms, election 1-2 s.
    "lan": Timing(0.05, 5, 20, 0.2),
    # An SD card can take a second for one fsync: heartbeat 500 ms, election 5-10 s.
    "sd-card": Timing(0.1, 5, 50, 1.0),
}


class Network(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the node listens for its peers (multiaddresses), and how patient it is: one of `PROFILES`."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4170",)
    profile: str = "lan"


class Web(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the node serves its page."""

    listen: str = "127.0.0.1:8170"


class Microgrid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One microgrid that the node belongs to.

    joining: where newcomers are let in, "" for nowhere. replace_after_s: how long a validator must not have been
    seen before it is proposed to replace it.
    """

    peers: tuple[str, ...] = ()
    joining: str = ""
    replace_after_s: int = REPLACE_AFTER_S


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trouble made on purpose, for demonstrations; the node says so where it shows.

    silent_periods: settlement periods, counted from 0 with the ledger's first one, at
    whose end the meter is treated as silent. late_periods: periods whose reading is delivered late_by
    periods later.
    """

    silent_periods: tuple[int, ...] = ()
    late_periods: tuple[int, ...] = ()
    late_by: int = 2


class MeterSection(msgspec.Struct, frozen=True, kw_only=True):
    """One meter. `settings` is what its driver gets."""

    driver: str
    metering_point: str
    key: str
    settings: dict[str, Any]
    rehearsal: Rehearsal | None = None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A node's configuration."""

    name: str
    network: Network = Network()
    web: Web = Web()
    microgrid: dict[str, Microgrid] = {}
    meter: tuple[MeterSection, ...] = ()

    @property
    def timing(self) -> Timing:
        """Timers of the chosen profile."""
        return PROFILES[self.network.profile]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    network: Network = Network()
    web: Web = Web()
    microgrid: dict[str, dict[str, Any]] = {}
    meter: tuple[dict[str, Any], ...] = ()


def load(directory: Path) -> Config:
    """The configuration of a node directory.

    Raises:
        ConfigError: the file is missing, no TOML, or says what it should not; with
            the line or the key, and the remedy; all mistakes at once.
    """
    path = directory / CONFIG_FILE
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}\n    make a node directory with: meshnode init, or: meshnode join"
        ) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_CONFIG_BYTES} bytes; this is not a node's configuration")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8\n    save the file as UTF-8"
        ) from error
    return parse(text, str(path))


def parse(text: str, place: str) -> Config:
    """The configuration in `text`; `place` names it in messages.

    Raises:
        ConfigError: as `load`.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{place}: not TOML: {error}\n    correct that line") from error
    wrong: list[str] = []
    file = _read(tree, _File, place, wrong)
    network: Network = file.get("network", Network())
    if network.profile not in PROFILES:
        wrong.append(
            f"{place}, network.profile: {network.profile!r} is not known\n    profiles are: {', '.join(PROFILES)}"
        )
    microgrids = {}
    for chain, section in file.get("microgrid", {}).items():
        where = f"{place}, microgrid.{chain}"
        if not re.fullmatch("[0-9a-f]{64}", chain):
            wrong.append(f"{where}: not a chain id (64 hex digits)\n    take it from: meshnode status")
        microgrids[chain] = Microgrid(**_read(section, Microgrid, where, wrong))
        if microgrids[chain].replace_after_s <= 0:
            found = microgrids[chain].replace_after_s
            wrong.append(f"{where}: replace_after_s is {found}\n    write seconds, like {REPLACE_AFTER_S}")
    sections = file.get("meter", ())
    if len(sections) > MAX_METERS:
        wrong.append(
            f"{place}: {len(sections)} meters; a member has at most {MAX_METERS}\n    remove those that are not used"
        )
    read = [_meter(section, f"{place}, meter {number}", wrong) for number, section in enumerate(sections, 1)]
    meters = tuple(meter for meter in read if meter is not None)
    wrong += _given_twice(place, meters)
    if wrong:
        raise ConfigError("\n".join(wrong))
    return Config(name=file["name"], network=network, web=file.get("web", Web()), microgrid=microgrids, meter=meters)


def meter_key_file(metering_point: str) -> str:
    """The file of a meter's key, as long as its section names no other."""
    return f"meter-{metering_point}.key"


def web_address(text: str, place: str) -> tuple[str, int]:
    """Host and port of an address at which a page is served; port 0 is any that is free.

    Args:
        text: such as 127.0.0.1:8170, or [::1]:8170.
        place: names it in messages.
    Raises:
        ConfigError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not (colon and re.fullmatch(r"[0-9A-Za-z.-]+|\[[0-9A-Fa-f:.]+\]", host) and re.fullmatch("[0-9]{1,5}", port)):
        raise ConfigError(f"{place}: {text!r} is no address of a page\n    write it like 127.0.0.1:8170")
    if int(port) > LAST_PORT:
        raise ConfigError(f"{place}: {text!r}: there is no port {port}\n    choose one up to {LAST_PORT}, like 8170")
    return host, int(port)


def _meter(section: dict[str, Any], place: str, wrong: list[str]) -> MeterSection | None:
    """A meter's section; None if it has mistakes, which are added to `wrong`."""
    before, settings = len(wrong), dict(section)
    rehearsal = settings.pop("rehearsal", None)
    for name in ("driver", "metering_point"):
        if not isinstance(settings.get(name), str):
            why = "is missing" if name not in settings else f"is {settings[name]!r}, not a text"
            wrong.append(f'{place}: {name} {why}\n    write a line like: {name} = "..."')
    point = settings.get("metering_point")
    key = settings.pop("key", meter_key_file(point) if isinstance(point, str) else "")
    if not isinstance(key, str) or "/" in key or key.startswith("."):
        wrong.append(f"{place}: key {key!r} is not a file name\n    key files lie in the folder {KEYS_DIRECTORY}")
    trouble = None if rehearsal is None else Rehearsal(**_read(rehearsal, Rehearsal, f"{place}, rehearsal", wrong))
    if len(wrong) > before:
        return None
    return MeterSection(
        driver=settings["driver"],
        metering_point=settings["metering_point"],
        key=key,
        settings=settings,
        rehearsal=trouble,
    )


def _given_twice(place: str, meters: Sequence[MeterSection]) -> list[str]:
    """Names that two meters share, and else key files: one key is one meter on the ledger."""
    for name in ("metering_point", "key"):
        values = Counter(getattr(meter, name) for meter in meters)
        # Meters of one name would share a key file too; that is the same mistake.
        twice = [value for value, count in values.items() if count > 1]
        if twice:
            return [
                f"{place}: two meters have the {name} {value!r}\n    give each meter its own {name}" for value in twice
            ]
    return []


def _read(tree: Any, kind: type[msgspec.Struct], place: str, wrong: list[str], path: str = "") -> dict[str, Any]:
    """The fields of a table that are as they should be, by name.

    Args:
        kind: what the table should be; the tables in it have a default for every key.
        path: of the table below `place`, with a dot at its end.
        wrong: gets a message for every other key, with the keys that are known there.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind)}

    def mistake(key: str, found: str) -> None:
        where = f"{place}, {key}" if key else place
        wrong.append(f"{where}: {found}\n    the keys here are: {', '.join(fields)}")

    if not isinstance(tree, dict):
        mistake(path.removesuffix("."), _refusal(tree, kind)[0])
        return {}
    for name in tree:
        if name not in fields:
            mistake(path.removesuffix("."), f"there is no key `{name}`")
    good: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in tree:
            if field.required:
                mistake(path.removesuffix("."), f"it lacks the key `{name}`")
        elif isinstance(tree[name], dict) and isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            good[name] = field.type(**_read(tree[name], field.type, place, wrong, f"{path}{name}."))
        else:
            found, inner = _refusal(tree[name], field.type)
            if found:
                mistake(f"{path}{name}{inner}", found)
            else:
                good[name] = msgspec.convert(tree[name], field.type)
    return good


def _refusal(value: Any, kind: Any) -> tuple[str, str]:
    """What is wrong with a value, in plain words, and where in it; both are empty if it is of this kind."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found, _, inner = str(error).partition(" - at `$")
        for word, plain in _WORDS.items():
            found = found.replace(word, plain)
        return f"{found[0].lower()}{found[1:]}", inner.rstrip("`")
    return "", ""


# What the parser calls things, and what the person who writes the file does.
_WORDS = {
    "`object`": "a table",
    "`array`": "a list",
    "`str`": "a text",
    "`int`": "a whole number",
    "`float`": "a number",
    "`bool`": "true or false",
}
