"""Founding: the files that a node starts from - keys, configuration, genesis.

Used when a microgrid is founded, when a node joins one, and by the demonstration.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any
from zoneinfo import TZPATH, ZoneInfo, ZoneInfoNotFoundError

import msgspec

from meshnode import keys
from meshnode.config import CONFIG_FILE, KEYS_DIRECTORY, ConfigError, meter_key_file
from meshnode.keys import DEVICE_KEY, MEMBER_KEY, SigningKey
from meshnode.machine import Machine
from meshnode.market import MechanismError
from meshnode.plugins import install
from meshnode.rules import hindrances, zone_said
from meshnode.store import Store
from protocols.cose import FORMAT_VERSION
from protocols.records import (
    CLOCK_REAL,
    DEFAULT_LIMITS,
    QUORUM_MAJORITY,
    Clock,
    Genesis,
    Limits,
    MemberEntry,
    MeterEntry,
    ValidatorEntry,
    chain_id,
    to_payload,
)
from zencode.binding import Binding, encode
from zencode.catalogue.ids import ZONE_DATA
from zencode.reader import read_document

# Offsets are tabled this far ahead; a later binding brings the next table.
ZONE_YEARS = 30
# Keys that TOML takes without quotes.
BARE_KEY = re.compile("[A-Za-z0-9_-]+")
# A clock that NTP keeps is right to a fraction of a second; ten seconds is a Pi without
# a clock chip that has just found the network.
DEFAULT_DRIFT_S = 10


class NodeKeys(msgspec.Struct, frozen=True):
    """The keys of a new node; meters by metering point."""

    device: SigningKey
    member: SigningKey
    meters: dict[str, SigningKey]

    def entry(self, name: str, roles: Sequence[str]) -> MemberEntry:
        """The owner as a member, with this node as its device."""
        return MemberEntry(
            name=name,
            roles=tuple(sorted(roles)),
            member_key=self.member.public,
            device_key=self.device.public,
            meters=tuple(
                MeterEntry(meter_key=key.public, metering_point=point) for point, key in sorted(self.meters.items())
            ),
        )


def make_keys(directory: Path, metering_points: Sequence[str]) -> NodeKeys:
    """New keys in a node's directory.

    Raises:
        KeyFileError: there are keys already.
    """
    place = directory / KEYS_DIRECTORY
    made = NodeKeys(
        SigningKey.generate(), SigningKey.generate(), {point: SigningKey.generate() for point in metering_points}
    )
    keys.save(place / DEVICE_KEY, made.device)
    keys.save(place / MEMBER_KEY, made.member)
    for point, key in made.meters.items():
        keys.save(place / meter_key_file(point), key)
    return made


def found(
    community: str,
    binding_text: str,
    members: Sequence[MemberEntry],
    validators: Sequence[bytes],
    *,
    start_s: int | None = None,
    clock: Clock | None = None,
    zone: str = "UTC",
    max_drift_s: int = DEFAULT_DRIFT_S,
    limits: Limits = DEFAULT_LIMITS,
    quorum_mode: int = QUORUM_MAJORITY,
) -> Genesis:
    """The genesis of a new microgrid, tried out on a state machine before anybody relies on it.

    Args:
        binding_text: the community's contract, in any language of the catalogue.
        validators: device keys of the nodes that vote.
        start_s: UTC second of height 0 on the microgrid's clock; now, if not given.
        quorum_mode: whether validators may fail (majority) or a third of them lie (byzantine; 4, 7 or 10 of them).
    Raises:
        BindingErrors, TermsError: the binding cannot be read, or contradicts itself.
        PackageError, MechanismError: an installed package cannot be used.
        ConfigError: the zone is unknown, names or keys occur twice, or this node cannot
            carry out the binding.
    """
    begin = int(time.time()) if start_s is None else start_s
    mechanisms = install()
    document = read_document(binding_text)
    hindering = hindrances(document.binding, mechanisms, document.language)
    if hindering:
        raise ConfigError(
            "the microgrid cannot be founded: this version does not carry out what the binding says with\n"
            + "".join(f"      {sentence}\n" for sentence in hindering)
            + "    say it otherwise, or take another preset (meshnode binding preset); mechanisms may come as packages"
        )
    _check_zone(document.binding, zone)
    genesis = Genesis(
        format_version=FORMAT_VERSION,
        community=community,
        start_s=begin,
        quorum_mode=quorum_mode,
        limits=limits,
        clock=clock or Clock(kind=CLOCK_REAL),
        zone=zone,
        zone_changes=zone_changes(zone, begin),
        max_drift_s=max_drift_s,
        members=tuple(members),
        validators=tuple(ValidatorEntry(device_key=key) for key in sorted(validators)),
        binding=encode(document.binding),
        binding_text=binding_text.encode(),
    )
    try:
        Machine(genesis, chain_id(genesis), mechanisms, keys.verify)
    except (ValueError, MechanismError) as error:
        raise ConfigError(f"the microgrid cannot be founded: {error}") from error
    return genesis


def _check_zone(binding: Binding, zone: str) -> None:
    """Whether a binding's times of day are those of the zone, made from the data that it names. Raises ConfigError."""
    said, data = zone_said(binding), binding.given(ZONE_DATA)
    if said not in (None, zone):
        raise ConfigError(
            f"the binding's times of day are those of {said}, and the microgrid would be founded in {zone}\n"
            f"    found it with --zone {said}, or let the binding say the zone in which it is"
        )
    wanted, found = None if data is None else data.slots[0], zone_data_version()
    if wanted not in (None, found):
        raise ConfigError(
            f"the binding needs time zone data of version {wanted}, this computer has {found or 'an unknown one'}\n"
            "    install that version of tzdata, or found the microgrid on a computer that has it"
        )


def zone_data_version() -> str | None:
    """The release of the IANA time zone database that this computer's tables are made from; None if it is not told."""
    for place in TZPATH:
        try:
            with (Path(place) / "tzdata.zi").open(encoding="utf-8") as file:
                first = file.readline(64)
        except OSError:
            continue
        return first.removeprefix("# version").strip() or None
    try:
        return version_of("tzdata")
    except PackageNotFoundError:
        return None


def zone_changes(zone: str, begin_s: int) -> tuple[tuple[int, int], ...]:
    """(from which UTC second, which offset in seconds) for a time zone, from `begin_s` on.

    The ledger computes in UTC; screens and time bands ask this table, so that a node
    with newer time zone data does not come to other results.

    Raises:
        ConfigError: this computer does not know the zone.
    """
    try:
        rules = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        # OSError: a folder of zones, such as Europe.
        raise ConfigError(
            f"time zone {zone!r} is not known here\n    write it like Europe/Rome; if that is not known, install tzdata"
        ) from error

    def offset(at_s: int) -> int:
        shift = datetime.fromtimestamp(at_s, UTC).astimezone(rules).utcoffset()
        return int((shift or timedelta()).total_seconds())

    table = [(0, offset(begin_s))]
    # Zones change at whole quarter-hours; the days with a change are searched closer.
    day, quarter = 86_400, 900
    for start in range(begin_s - begin_s % day, begin_s + ZONE_YEARS * 365 * day, day):
        if offset(start) == offset(start + day):
            continue
        for at_s in range(start, start + day, quarter):
            if offset(at_s) != offset(at_s + quarter) and at_s + quarter > begin_s:
                table.append((at_s + quarter, offset(at_s + quarter)))
    return tuple(table)


def place_ledger(directory: Path, genesis: Genesis) -> None:
    """Begin the ledger of a microgrid in a node's directory. Raises StoreError."""
    Store.create(directory, to_payload(genesis))


def write_config(
    directory: Path,
    name: str,
    *,
    listen: Sequence[str],
    web: str,
    microgrids: Mapping[str, Mapping[str, Any]],
    meters: Sequence[Mapping[str, Any]],
    profile: str = "lan",
) -> None:
    """Write a node's configuration; an existing one is never overwritten.

    Raises:
        ConfigError: there is one already.
    """
    path = directory / CONFIG_FILE
    lines = [
        "# Settings of this node. Stop it before you change them, and start it again afterwards.",
        f"name = {_toml(name)}",
        "",
        "[network]",
        f"listen = {_toml(list(listen))}",
        f"profile = {_toml(profile)}",
        "",
        "[web]",
        f"listen = {_toml(web)}",
    ]
    for chain, section in microgrids.items():
        lines += ["", f"[microgrid.{chain}]", *_pairs(section)]
    for meter in meters:
        lines += ["", "[[meter]]", *_pairs(meter)]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError as error:
        raise ConfigError(f"{path}: there is a node here already\n    choose another directory") from error


def _pairs(table: Mapping[str, Any]) -> list[str]:
    """Each key of a table with its value, as TOML; keys that are no bare words in quotes."""
    return [f"{key if BARE_KEY.fullmatch(key) else _toml(key)} = {_toml(value)}" for key, value in table.items()]


def _toml(value: Any) -> str:
    """A value as TOML; its strings and numbers are those of JSON, but for DEL, which it escapes too."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(_pairs(value)) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
