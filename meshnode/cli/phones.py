"""Phones: `meshnode phone` - being known at points by a phone's key, which signs for each session."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from meshnode.cli.delivery import Asset, At, point_of, shown_credential
from meshnode.cli.output import Json, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Where, microgrid_place
from meshnode.cli.trading import Acting, Asking

phone = Group("Phones and cards by which somebody is known at points; a phone signs for each session.")

Public = Annotated[str, Argument("KEY", "The phone's public key, in hex.")]
KeyFile = Annotated[Path, Argument("FILE", "A key file, where no phone has the key.")]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("phone", phone)


@phone.command()
def new(path: KeyFile, json: Json = False) -> None:
    """Make a key that stands for a phone's own, in a file."""
    from meshnode import keys

    key = keys.SigningKey.generate()
    keys.save(path, key)
    public = key.public.hex()
    answer({"public_key": public}, f"{path}\n    bind it with: meshnode phone bind {public}", json)


@phone.command()
def bind(
    public: Public,
    at: At,
    asset: Asset,
    most: Annotated[int, Option("--most", "No session may cost more.", low=1)],
    *,
    how: Acting,
) -> int:
    """Be known by a phone at a point, and pay for the sessions it signs for there. Exit 1 if refused, 3 if not known
    yet.
    """
    place = how.place
    body = {"credential": shown_credential("", public), "public_key": public, "asset": asset, "most_u": most}
    body |= {"point": point_of(place, how.chain, at)["point"]}
    what = f"sessions at {at} that this phone signs for are at your cost, up to {most} {asset} each"
    return how.act("/api/credentials", body, what)


@phone.command()
def unbind(public: Public, *, how: Acting) -> int:
    """Be known by a phone no more. Exit 1 if the community refuses it, 3 if that is not known yet."""
    path = f"/api/credentials/{shown_credential('', public)}/remove"
    return how.act(path, {}, "that phone is good for nothing any more")


@phone.command()
def consent(
    path: KeyFile,
    at: At,
    energy: Annotated[str, Option("--energy", 'At most this much, like "20 kWh".')],
    number: Annotated[int, Option("--number", "Rises with each consent; the second of now, if 0.", low=0)] = 0,
    *,
    how: Where,
) -> None:
    """Sign for one session, as the phone does: no community is needed for it, and the proof is good once."""
    from meshnode import keys
    from meshnode.amounts import parse_energy
    from protocols.records import consent_bytes

    place = how.place
    key, cap_wh = keys.load(path), parse_energy(energy)
    number = number or int(time.time())
    point, chain_id = point_of(place, how.chain, at)["point"], bytes.fromhex(microgrid_place(place, how.chain).name)
    proof = key.sign(consent_bytes(chain_id, key.public, bytes.fromhex(point), cap_wh, number)).hex()
    public = key.public.hex()
    given = {"public_key": public, "point": point, "cap_wh": cap_wh, "number": number, "proof": proof}
    answer(given, f'--energy "{energy}" --phone {public} --number {number} --proof {proof}', how.json)


@phone.command("list")
def list_(*, how: Asking) -> None:
    """List the phones and cards by which you are known. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/credentials")
    answer(found, lambda: _credentials(found["credentials"]), how.json)


def _credentials(found: list[dict[str, Any]]) -> str:
    if not found:
        return "none"
    lines = [
        (
            one["kind"],
            f"{one['most_u']} {one['asset']}",
            ", ".join(one["points"]),
            one["public_key"] or one["credential"],
        )
        for one in found
    ]
    return table(lines, ("what", "at most", "at", "key or credential"))
