"""Place: which node's directory a command means, and how it reaches the node that runs there.

A running node writes `running.json` into its directory: the addresses that it listens on,
which a port 0 in the configuration does not tell. It is removed at the end; after a power
cut it may remain, and then nobody answers at its addresses.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeVar

from meshnode.cli.output import Fault, Json, No, NotYet
from meshnode.cli.parser import Argument, Option

if TYPE_CHECKING:
    from meshnode.client import NodeClient

RUNNING_FILE = "running.json"
DIRECTORY_VARIABLE = "MESHNODE_DIR"
DEFAULT_DIRECTORY = "~/.meshnode"
# What people give to commands: bindings, captures, receipts, genesis files.
MAX_INPUT_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

Dir = Annotated[
    Path | None,
    Option("--dir", f"The node's directory (${DIRECTORY_VARIABLE}, else {DEFAULT_DIRECTORY})."),
]
DirArgument = Annotated[
    Path | None,
    Argument("DIR", f"The node's directory (${DIRECTORY_VARIABLE}, else {DEFAULT_DIRECTORY})."),
]
Chain = Annotated[
    str,
    Option("--chain", "Which microgrid, if the node has several: the first digits of its chain id."),
]


class Where(NamedTuple):
    """What a command takes that means a node: which one, which of its microgrids, and how it answers."""

    directory: Dir = None
    chain: Chain = ""
    json: Json = False

    @property
    def place(self) -> Path:
        """The node's directory."""
        return node_directory(self.directory)

    def ask(self, path: str, *, write: bool = False, **query: Any) -> dict[str, Any]:
        """What the node answers.

        Args:
            write: it answers only who may act for the member.
        """

        async def question(node: NodeClient) -> dict[str, Any]:
            found: dict[str, Any] = await node.get(path, **query)
            return found

        return ask_node(self.place, self.chain, question, write=write)


def node_directory(directory: Path | None) -> Path:
    """The directory that is meant when `directory` was given or left out."""
    return directory or Path(os.environ.get(DIRECTORY_VARIABLE) or DEFAULT_DIRECTORY).expanduser()


def spelled_again(directory: Path, chain: str) -> str:
    """The options, each with a space before it, that make another command mean the same node and microgrid."""
    where = "" if directory == node_directory(None) else f" --dir {shlex.quote(str(directory))}"
    return where + (f" --chain {shlex.quote(chain)}" if chain else "")


def write_running(directory: Path, web: list[dict[str, str]], listen: list[str]) -> None:
    """Say where the node that runs in this directory is reached."""
    new = directory / f"{RUNNING_FILE}.new"
    new.write_text(json.dumps({"pid": os.getpid(), "microgrids": web, "listen": listen}) + "\n")
    new.replace(directory / RUNNING_FILE)


def refuse_second(directory: Path) -> None:
    """Refuse to start a node in a directory in which one is running; its ledgers' locks tell.

    Raises:
        Fault: there is one; says where it is reached.
        StoreError: another process, such as a check of the ledger, has a ledger in use.
    """
    from meshnode.store.place import GENESIS_FILE, LOCK_FILE, MICROGRIDS, Lock, StoreError

    for genesis in sorted((directory / MICROGRIDS).glob(f"*/{GENESIS_FILE}")):
        try:
            Lock(genesis.parent).release()
        except StoreError as error:
            try:
                running = json.loads((directory / RUNNING_FILE).read_text())
                number, pages = running["pid"], " and ".join(str(page["web"]) for page in running["microgrids"])
                owner = int((genesis.parent / LOCK_FILE).read_text())
            except (OSError, ValueError, KeyError, TypeError):
                # It is still starting, or it is no node.
                raise error from None
            if number != owner:
                # The file was left behind by a power cut.
                raise
            raise Fault(
                f"{directory}: this node is running already, as process {number} with its page at {pages}\n"
                "    stop that one first, or give another node its own directory"
            ) from error


def web_address(directory: Path, chain: str = "") -> str:
    """The address of the page of a node's microgrid.

    Raises:
        Fault: there is no node there, or none or several of its microgrids are meant.
        ConfigError: its configuration is not usable.
    """
    try:
        running = json.loads((directory / RUNNING_FILE).read_text())
        pages = {str(page["chain_id"]): str(page["web"]) for page in running["microgrids"]}
    except FileNotFoundError:
        from meshnode import config

        config.load(directory)
        raise Fault(f"{directory}: the node is not running\n    start it with: meshnode run {directory}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Fault(f"{directory / RUNNING_FILE}: {error}\n    remove it and start the node again") from error
    return pages[_only(directory, list(pages), chain)]


def microgrid_place(directory: Path, chain: str) -> Path:
    """The directory of one microgrid's ledger in a node's directory, or that directory itself.

    Args:
        chain: first digits of its chain id; may be empty if the node has only one.
    Raises:
        Fault: none or several begin so.
        StoreError: there is no ledger at all.
    """
    from meshnode.store.place import microgrids

    places = {place.name: place for place in microgrids(directory)}
    return places[_only(directory, list(places), chain)]


def chain_id_of(directory: Path, chain: str) -> bytes | None:
    """The chain id that begins with these digits; None if none were given."""
    return bytes.fromhex(microgrid_place(directory, chain).name) if chain else None


def _only(directory: Path, chains: Sequence[str], chain: str) -> str:
    """The one chain id that begins with some digits. Raises Fault if there are none or several."""
    found = [known for known in chains if known.startswith(chain.lower())]
    if len(found) != 1:
        names = "\n".join(f"    --chain {known[:16]}" for known in chains)
        raise Fault(f"{directory}: {len(found)} of the node's microgrids are meant\n{names}")
    return found[0]


def token_of(directory: Path) -> str:
    """The token that the node asks for before it changes something.

    Raises:
        Fault: there is none, or it is not this user's.
    """
    from meshnode.config import TOKEN_FILE

    path = directory / TOKEN_FILE
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}\n    run this command as the user whose node it is") from error


def ask_node(directory: Path, chain: str, question: Callable[[NodeClient], Awaitable[T]], *, write: bool = False) -> T:
    """Ask the node that runs in a directory.

    Args:
        write: the question changes something and needs the token.
    Raises:
        Fault, ConfigError, ClientError: there is no node to be asked, or it cannot answer.
        No: the community's answer is no.
        NotYet: a fresh answer was wanted, and no majority confirmed one in time.
    """
    import trio

    from meshnode.client import ClientError, NobodyThere, NodeClient

    client = NodeClient(web_address(directory, chain), token_of(directory) if write else None)

    async def ask() -> T:
        return await question(client)

    try:
        return trio.run(ask)
    except NobodyThere as error:
        # What it wrote down about itself outlived it: a power cut, or it was killed.
        raise Fault(f"{error} {shlex.quote(str(directory))}") from error
    except ClientError as error:
        if error.status == _OTHER_TOKEN:
            from meshnode.config import TOKEN_FILE

            raise Fault(
                f"{directory / TOKEN_FILE}: found another token, expected that of the running node\n"
                "    start the node again, it then takes the one in the file"
            ) from error
        if error.status in (_REFUSED, _NOT_NOW):
            raise No(f"refused: {'; '.join(fault['found'] for fault in error.answer['errors'])}") from error
        if error.status == _NOT_THERE:
            raise No(str(error)) from error
        if error.status == _NOT_CONFIRMED:
            found = "; ".join(fault["found"] for fault in error.answer["errors"])
            raise NotYet(
                f"not known yet: {found}\n    ask again, or without --fresh for what this node knows"
            ) from error
        raise


def read_input(path: str) -> bytes:
    """The bytes of a file, or of stdin for "-".

    Raises:
        Fault: it cannot be read, or is far too large.
    """
    import sys

    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}\n    check the name of the file") from error
    if len(data) > MAX_INPUT_BYTES:
        raise Fault(f"{path}: more than {MAX_INPUT_BYTES} bytes; this is not what is expected here")
    return data


def write_output(path: Path, data: bytes) -> None:
    """Write a file. Raises Fault if the disk refuses."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}\n    choose another place") from error


def settings_of(texts: list[str], place: str) -> dict[str, Any]:
    """Settings given as key=value, whole numbers and true/false recognised.

    Raises:
        Fault: one is not of that form.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise Fault(f"{place}: found {text!r}, expected key=value\n    write it like driver=dsmr")
        words: dict[str, Any] = {"true": True, "false": False}
        number = value.removeprefix("-")
        is_number = number.isascii() and number.isdigit()
        found[key.strip()] = words[value] if value in words else int(value) if is_number else value
    return found


# HTTP's numbers: the token is not the node's, the community's rules do not allow a record, the node
# does not take it now, there is none of it, nobody confirmed in time what is newest.
_OTHER_TOKEN = 401
_REFUSED = 409
_NOT_NOW = 503
_NOT_THERE = 404
_NOT_CONFIRMED = 504
