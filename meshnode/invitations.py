"""Invitations: the links by which an administrator lets newcomers in, and what is kept of them.

<node directory>/microgrids/<chain id>/invitations/
    <id>.json        role, expiry, hash of the secret; written once, when it is made
    <id>.used.json   who used it, and the Join record; made by the node, never taken over

The secret itself is only in the link. Being used is a file of its own that only one
newcomer can make, so a restart neither forgets it nor lets a second one in.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlencode

import msgspec

from meshnode.store.place import make_directory, microgrid_directory, sync_directory
from protocols.cose import CHAIN_ID_BYTES
from protocols.joining import MAX_PEERS, SECRET_BYTES, secret_hash
from protocols.records.statements import INVITATION_BYTES

INVITATIONS_DIRECTORY = "invitations"
LINK_START = "meshnode:join?"
# More than a community invites in a year; used ones count, so that the directory is bounded.
MAX_INVITATIONS = 4096
# A link with sixteen addresses has some two thousand characters.
MAX_LINK_CHARACTERS = 4096
# An invitation that lies around for longer than a month is a door left open.
MAX_VALID_S = 31 * 86400
MAX_FILE_BYTES = 4096


_Kept = TypeVar("_Kept", bound=msgspec.Struct)


class InvitationError(Exception):
    """An invitation that cannot be made or read: what was found, and what to do."""


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """An invitation as it is kept. Times are UTC seconds of the real clock; bytes are in hex.

    shows: credentials that the administrator has seen, sorted. behind: substations of the newcomer's meters, sorted.
    """

    id: str
    role: str
    expires_s: int
    secret_hash: str
    shows: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()

    def opens_with(self, secret: bytes) -> bool:
        """Whether this is the secret of its link, found out in the same time for every wrong one."""
        return hmac.compare_digest(bytes.fromhex(self.secret_hash), secret_hash(secret))


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Who used an invitation: account id and id of the Join record in hex, and until when a block may carry that."""

    account: str
    record: str
    valid_until_s: int


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """What an invitation's link says. addresses: of the door, each with its peer id."""

    chain_id: bytes
    id: bytes
    secret: bytes
    role: str
    expires_s: int
    addresses: tuple[str, ...]

    def __str__(self) -> str:
        fields = [
            ("chain", self.chain_id.hex()),
            ("id", self.id.hex()),
            ("secret", self.secret.hex()),
            ("role", self.role),
            ("expires", str(self.expires_s)),
            *(("at", address) for address in self.addresses),
        ]
        return LINK_START + urlencode(fields, safe="/")


def read_link(text: str) -> Link:
    """What a link says.

    Raises:
        InvitationError: it is no invitation, or not all of one.
    """
    text = text.strip()
    remedy = "copy the whole link from the administrator's message, in quotes"
    if not text.startswith(LINK_START) or len(text) > MAX_LINK_CHARACTERS:
        raise InvitationError(
            f"{text[:40]!r}: not an invitation; expected a link that begins with {LINK_START}\n    {remedy}"
        )
    try:
        fields = parse_qs(text[len(LINK_START) :], max_num_fields=MAX_PEERS + 8)
        chain, id_, secret = (bytes.fromhex(fields[name][0]) for name in ("chain", "id", "secret"))
        sizes = (len(chain), len(id_), len(secret))
        if sizes != (CHAIN_ID_BYTES, INVITATION_BYTES, SECRET_BYTES):
            raise ValueError("a part was cut off")
        return Link(
            chain_id=chain,
            id=id_,
            secret=secret,
            role=fields["role"][0],
            expires_s=int(fields["expires"][0]),
            addresses=tuple(fields["at"][:MAX_PEERS]),
        )
    except KeyError as error:
        raise InvitationError(f"the invitation has no {error.args[0]!r}; it was cut off\n    {remedy}") from error
    except ValueError as error:
        raise InvitationError(f"the invitation is damaged: {error}\n    {remedy}") from error


class Invitations:
    """The invitations to one microgrid, on the disk of the administrator's node. All calls wait for the disk."""

    def __init__(self, directory: Path, chain_id: bytes) -> None:
        """Args: directory: the node's."""
        self.chain_id = chain_id
        self._place = microgrid_directory(directory, chain_id) / INVITATIONS_DIRECTORY

    def make(
        self,
        role: str,
        expires_s: int,
        addresses: tuple[str, ...],
        shows: Collection[str] = (),
        behind: Collection[str] = (),
    ) -> Link:
        """A new invitation, on disk when this returns.

        Args:
            shows, behind: what the administrator says of the newcomer; see `Invitation`.
        Raises:
            InvitationError: there are too many, or the disk refuses.
        """
        link = Link(
            chain_id=self.chain_id,
            id=secrets.token_bytes(INVITATION_BYTES),
            secret=secrets.token_bytes(SECRET_BYTES),
            role=role,
            expires_s=expires_s,
            addresses=addresses,
        )
        kept = Invitation(
            id=link.id.hex(),
            role=role,
            expires_s=expires_s,
            secret_hash=secret_hash(link.secret).hex(),
            shows=tuple(sorted(set(shows))),
            behind=tuple(sorted(set(behind))),
        )
        try:
            make_directory(self._place)
            count = sum(1 for _ in self._place.glob("*.json"))
            if count >= MAX_INVITATIONS:
                raise InvitationError(
                    f"{self._place}: {count} files, the limit is {MAX_INVITATIONS}\n    remove the oldest"
                )
            self._write_new(self._path(link.id), kept)
        except OSError as error:
            raise InvitationError(f"{self._place}: {error.strerror}; check the disk and the permissions") from error
        return link

    def find(self, id_: bytes) -> Invitation | None:
        """The invitation of an id; None if there is none.

        Raises:
            InvitationError: its file is damaged.
        """
        return self._read(self._path(id_), Invitation)

    def use_of(self, id_: bytes) -> Use | None:
        """Who used it; None if nobody did. Raises InvitationError as `find`."""
        return self._read(self._used_path(id_), Use)

    def claim(self, id_: bytes, use: Use) -> bool:
        """Use an invitation up; False if somebody else did. The same newcomer may come again with another record.

        Raises:
            InvitationError: as `find`, or the disk refuses.
        """
        path = self._used_path(id_)
        try:
            self._write_new(path, use)
        except FileExistsError:
            before = self.use_of(id_)
            if before is None or before.account != use.account:
                return False
            self._replace(path, use)
        except OSError as error:
            raise InvitationError(f"{path}: {error.strerror}; check the disk") from error
        return True

    def release(self, id_: bytes) -> None:
        """Undo a claim that came to nothing: the ledger refused the newcomer.

        Raises:
            InvitationError: the disk refuses.
        """
        try:
            self._used_path(id_).unlink(missing_ok=True)
            sync_directory(self._place)
        except OSError as error:
            raise InvitationError(f"{self._place}: {error.strerror}; check the disk") from error

    def _path(self, id_: bytes) -> Path:
        return self._place / f"{id_.hex()}.json"

    def _used_path(self, id_: bytes) -> Path:
        return self._place / f"{id_.hex()}.used.json"

    def _write_new(self, path: Path, value: msgspec.Struct) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(value))
                file.flush()
                os.fsync(file.fileno())
            sync_directory(path.parent)
        except OSError:
            # Half a file would stand in the way of the next attempt.
            path.unlink(missing_ok=True)
            raise

    def _replace(self, path: Path, value: msgspec.Struct) -> None:
        new = path.with_suffix(".new")
        try:
            new.unlink(missing_ok=True)
            self._write_new(new, value)
            new.rename(path)
            sync_directory(self._place)
        except OSError as error:
            raise InvitationError(f"{path}: {error.strerror}; check the disk") from error

    @staticmethod
    def _read(path: Path, kind: type[_Kept]) -> _Kept | None:
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(MAX_FILE_BYTES), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise InvitationError(f"{path}: {error}; remove it and invite again") from error
