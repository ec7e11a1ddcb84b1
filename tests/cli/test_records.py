"""Records on the command line: accepted, refused, or not known yet - three answers, three exit codes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from meshnode.cli.place import write_running
from tests.cli.servers import Behaviour, answering, serving
from tests.cli.shell import Done, complaint, meshnode

ID = "ab" * 32


def ask(directory: Path, outcome: dict[str, Any], *words: object) -> Done:
    """What `meshnode record` makes of a node's answer."""

    async def main() -> Done:
        async with serving(answering(msgspec.json.encode({"record_id": ID, "receipt": "", **outcome}))) as address:
            write_running(directory, [{"chain_id": "00" * 32, "web": address}], [])
            return await trio.to_thread.run_sync(lambda: meshnode("record", ID, "--dir", directory, *words))

    return trio.run(main)


ACCEPTED = {"status": "final", "height": 7, "verdict": "ACCEPTED", "sentence": "accepted"}
REFUSED = {"status": "final", "height": 8, "verdict": "NO_SUCH_ASSET", "sentence": "there is no such asset"}
UNKNOWN = {"status": "unknown", "height": 0, "verdict": "", "sentence": "not in a final block yet; ask again"}


@pytest.mark.parametrize(
    ("outcome", "code", "accepted", "said"),
    [
        (ACCEPTED, 0, True, f"accepted in block 7: record {ID}\n"),
        (REFUSED, 1, False, "refused in block 8: there is no such asset\n"),
        (UNKNOWN, 3, None, f"not known yet: {ID}\n"),
    ],
    ids=["accepted", "refused", "pending"],
)
def test_pending_is_not_refused(
    tmp_path: Path, outcome: dict[str, Any], code: int, accepted: bool | None, said: str
) -> None:
    done = ask(tmp_path, outcome)
    assert (done.code, done.err) == (code, "") and done.out.startswith(said)
    assert (code == 3) == (f"ask again with: meshnode record {ID}" in done.out)
    told = ask(tmp_path, outcome, "--json")
    assert (told.code, told.json["status"], told.json["accepted"]) == (code, outcome["status"], accepted)


def test_the_command_that_asks_again_is_the_whole_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "my node"
    place.mkdir()
    assert ask(place, UNKNOWN).out.endswith(f"ask again with: meshnode record {ID} --dir '{place}'\n")
    monkeypatch.setenv("MESHNODE_DIR", str(place))
    assert ask(place, UNKNOWN).out.endswith(f"ask again with: meshnode record {ID}\n"), "it would be found anyway"
    assert ask(place, UNKNOWN, "--chain", "00").out.endswith(f"ask again with: meshnode record {ID} --chain 00\n")


def test_a_node_that_died_is_started_where_it_is(tmp_path: Path) -> None:
    write_running(tmp_path, [{"chain_id": "00" * 32, "web": "http://127.0.0.1:9"}], [])
    assert complaint("record", ID, "--dir", tmp_path) == (
        f"http://127.0.0.1:9: no node answers there\n    start it with: meshnode run {tmp_path}"
    )


def test_what_is_no_record_id_is_not_asked_for(tmp_path: Path) -> None:
    assert complaint("record", "beef", "--dir", tmp_path).startswith("beef: not a record id\n    it has 64 hex digits")


def test_the_help_names_the_code() -> None:
    assert "3 not known yet" in meshnode("--help").out
    assert app_help("record") and app_help("transfer")


def app_help(command: str) -> bool:
    return "3 if that is not known yet" in " ".join(meshnode(command, "--help").out.split())


@pytest.mark.parametrize("command", [("status",), ("order", "list"), ("record", ID)], ids=" ".join)
def test_what_no_majority_confirms_is_not_known_yet(tmp_path: Path, command: tuple[str, ...]) -> None:
    fault = {"place": "query fresh", "found": "no majority", "expected": "a majority", "remedy": "ask again"}
    asked: list[bytes] = []

    async def main() -> Done:
        refuse = answering(msgspec.json.encode({"errors": [fault]}), status="504 Gateway Timeout")

        async def behave(request: bytes, stream: trio.SocketStream) -> None:
            asked.append(request.split()[1])
            await refuse(request, stream)

        async with serving(behave) as address:
            write_running(tmp_path, [{"chain_id": "00" * 32, "web": address}], [])
            return await trio.to_thread.run_sync(lambda: meshnode(*command, "--fresh", "--dir", tmp_path))

    done = trio.run(main)
    assert (done.code, done.out) == (3, "")
    assert done.err == "error: not known yet: no majority\n    ask again, or without --fresh for what this node knows\n"
    assert b"fresh=10" in asked[0]


def act(tmp_path: Path, behave: Behaviour, *words: str) -> Done:
    """What `meshnode transfer` makes of a node that behaves so."""
    (tmp_path / "api.token").write_text("a-token-of-the-tests\n")

    async def main() -> Done:
        async with serving(behave) as address:
            write_running(tmp_path, [{"chain_id": "00" * 32, "web": address}], [])
            command = ("transfer", "--to", "bela", "--asset", "SUN", "--amount", "1", *words)
            return await trio.to_thread.run_sync(lambda: meshnode(*command, "--dir", tmp_path))

    return trio.run(main)


def test_a_transfer_whose_answer_is_lost_is_sent_again_and_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[bytes] = []
    taken = answering(msgspec.json.encode({"record_id": ID}), status="202 Accepted")
    final = answering(msgspec.json.encode({"record_id": ID, "receipt": "", **ACCEPTED}))

    async def behave(request: bytes, stream: trio.SocketStream) -> None:
        if request.startswith(b"GET"):
            await final(request, stream)
            return
        keys.append(next(line for line in request.split(b"\r\n") if line.lower().startswith(b"idempotency-key")))
        if len(keys) > 1:
            await taken(request, stream)

    done = act(tmp_path, behave)
    assert (done.code, done.out) == (0, f"accepted in block 7: 1 SUN to bela\n    record {ID}\n")
    assert len(keys) == 2 and keys[0] == keys[1]


def test_a_transfer_that_never_gets_an_answer_is_not_known_and_can_be_repeated(tmp_path: Path) -> None:
    async def die(_request: bytes, _stream: trio.SocketStream) -> None:
        await trio.lowlevel.checkpoint()

    done = act(tmp_path, die, "--key", "my-transfer")
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("error: not known yet: the node did not say whether it has taken this\n")
    assert "--key my-transfer" in done.err


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (UNKNOWN | {"status": "never", "verdict": "EXPIRED", "sentence": "none can any more"}, "never: none can any"),
        (UNKNOWN | {"status": "refused", "sentence": "its number was used"}, "refused: its number was used"),
    ],
    ids=["never", "refused"],
)
def test_what_is_in_no_block_and_never_will_be_is_a_no(tmp_path: Path, outcome: dict[str, Any], said: str) -> None:
    done = ask(tmp_path, outcome)
    assert (done.code, done.err) == (1, "") and done.out.startswith(said)
