"""Records on the command line: accepted, refused, or not known yet - three answers, three exit codes."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from meshnode.cli.place import write_running
from tests.cli.servers import answering, serving
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
