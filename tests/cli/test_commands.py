"""Commands that need no running node: their answers, their complaints and their exit codes."""

import errno
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from drivers.codecs.crc import crc16_arc
from meshnode import __version__
from meshnode.cli import output
from meshnode.cli.main import app
from meshnode.cli.parser import Group
from meshnode.rules import left_out
from tests.cli.shell import ROOT, Done, complaint, environment, init, meshnode, spawn
from zencode.presets import preset
from zencode.reader import read

VILLAGE = ROOT / "zencode" / "presets" / "mid_market_village.zen"
VILLAGE_HASH = "4819b599e775c87e698407a1c2bd08baceb2505bb7cceaab47447f62ec736261"
# Nobody listens there; what is asked for fails before anybody is looked for.
LINK = (
    f"meshnode:join?chain={'0' * 64}&id={'0' * 32}&secret={'0' * 64}&role=prosumer&expires=9999999999"
    f"&at=/ip4/127.0.0.1/tcp/1/p2p/12D3KooWEyopopk2nEhXY5CZ4hcWQsKyPSi8ZhTTbTiKqjP4hLkp"
)


# --- help, words that mean nothing, and what fails where


def test_help_names_every_command_and_the_exit_codes() -> None:
    done = meshnode("--help")
    assert done.code == 0
    assert all(f"  {name} " in done.out for name in app.entries)
    assert "Exit codes: 0 fine, 1 the answer is no, 2 something to mend" in done.out
    assert meshnode().code == 2
    assert meshnode("order").code == 2


def test_the_version_is_said() -> None:
    assert spawn("--version") == Done(0, f"meshnode {__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("order", "buy"),
        ("binding", "check", VILLAGE),
        ("binding", "hash", __file__),
        ("ledger", "verify", "/nowhere"),
        ("status", "--dir", "/nowhere"),
        ("meter", "try", "--driver", "dsmr", "--port", "/dev/nowhere"),
        ("run", "/nowhere"),
        ("receipt", "deadbeef"),
    ],
    ids=lambda words: " ".join(map(str, words[:2])),
)
def test_a_process_says_what_the_other_tests_hear_in_this_one(words: tuple[object, ...]) -> None:
    assert spawn(*words) == meshnode(*words)


def commands_of(group: Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, entry in group.entries.items():
        found += commands_of(entry, (*path, name)) if isinstance(entry, Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("command", commands_of(app), ids=" ".join)
def test_every_command_explains_itself_and_answers_in_json(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        app.find([*command, "--help"], "meshnode")
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: meshnode {' '.join(command)}")
    assert "--json" in said


def test_a_word_that_is_no_command_is_taken_for_a_slip() -> None:
    assert complaint("ordr") == "meshnode: no command 'ordr'; did you mean 'order'?"
    assert complaint("ledger", "xyz").startswith("meshnode ledger: no command 'xyz'\n    there are verify, show")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("order", "buy"), "the following arguments are required: --price"),
        (("ledger", "show", "ten"), "argument HEIGHT: found 'ten', expected a whole number"),
        (("ledger", "show", "0"), "argument HEIGHT: found 0, expected 1 or more"),
        (("run", "--log", "loud"), "found 'loud', expected one of debug, info, warning, error"),
        (("status", "--josn"), "unrecognized arguments: --josn"),
        (("order", "list", "--js"), "unrecognized arguments: --js"),
    ],
)
def test_wrong_options_are_refused_with_the_usage(words: tuple[str, ...], message: str) -> None:
    done = meshnode(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("usage: meshnode ") and done.err.rstrip().endswith(message)


def test_every_error_that_is_no_bug_exists_under_its_name() -> None:
    for name, code in output.ERRORS.items():
        module, _, kind = name.rpartition(".")
        found = getattr(importlib.import_module(module), kind)
        assert issubclass(found, Exception) and f"{found.__module__}.{found.__qualname__}" == name
        assert code in (output.NO, output.MEND)


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/x"), "/proc/x: No such file or directory"),
        (
            PermissionError(errno.EACCES, "Permission denied", b"/srv/x"),
            "/srv/x: Permission denied\n    check the path",
        ),
        (OSError(errno.EROFS, "Read-only file system", "/usr/x"), "/usr/x: Read-only file system\n    choose a place"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device\n    make room on the disk"),
    ],
)
def test_what_the_system_refuses_is_a_message_however_deep_it_happens(
    refusal: OSError, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused() -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [refusal])])

    assert output.guarded(refused) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_a_single_bug_is_shown_without_the_groups_around_it() -> None:
    origin = KeyError("where it came from")
    bug = OSError(errno.EBADF, "Bad file descriptor")
    bug.__context__ = origin

    def broken() -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [bug])])

    with pytest.raises(OSError, match="Bad file descriptor") as shown:
        output.guarded(broken)
    assert shown.value is bug and bug.__context__ is origin


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--web", "banana"), "--web: 'banana' is no address of a page"),
        (("--meter", "driver=simulated"), "--meter driver=simulated: meter home, key seed: object missing"),
    ],
)
def test_joining_checks_what_is_said_before_it_makes_keys(tmp_path: Path, more: tuple[str, ...], message: str) -> None:
    assert complaint("join", LINK, "--dir", tmp_path / "z", "--name", "zora", *more).startswith(message)
    assert not (tmp_path / "z").exists()


@pytest.mark.parametrize("words", [("init", "--community", "C"), ("join", LINK, "--dir")])
def test_a_directory_that_cannot_be_made_is_said_to_be_so(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "x", Path("/proc/x")):
        place_words = (place, *words[1:]) if words[0] == "init" else (*words[1:], place)
        said = complaint(words[0], *place_words, "--name", "anna")
        assert said.startswith(str(place)) and "choose another place" in said


def test_a_bug_shows_its_traceback() -> None:
    def broken() -> int:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        output.guarded(broken)

    def half_broken() -> int:
        raise ExceptionGroup("both", [output.No("a refusal"), ZeroDivisionError("a bug")])

    with pytest.raises(ExceptionGroup):
        output.guarded(half_broken)


def test_what_several_tasks_complain_of_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> int:
        raise ExceptionGroup("", [output.No("no"), ExceptionGroup("", [output.No("no"), output.Fault("broken")])])

    assert output.guarded(refused) == 2
    assert capsys.readouterr().err == "error: no\nerror: broken\n"

    def interrupted() -> int:
        raise BaseExceptionGroup("", [KeyboardInterrupt()])

    assert output.guarded(interrupted) == 130


def test_a_reader_who_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m meshnode binding preset mid-market-village --json | head -c 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], env=environment(), cwd=ROOT, capture_output=True, check=False
    )
    assert done.stderr == b""


# --- bindings


def test_a_binding_that_is_fine() -> None:
    done = meshnode("binding", "check", VILLAGE)
    assert done.code == 0 and done.out.startswith(f"{VILLAGE}: fine, hash {VILLAGE_HASH}\n")
    assert meshnode("binding", "check", VILLAGE, "--json").json == {
        "file": str(VILLAGE),
        "ok": True,
        "hash": VILLAGE_HASH,
        "findings": [],
        "prevents_founding": [],
        "not_carried_out": list(left_out(read(VILLAGE.read_bytes()))),
    }


def test_check_and_the_list_say_what_this_version_does_not_carry_out(tmp_path: Path) -> None:
    file = tmp_path / "island.zen"
    file.write_text(preset("island_order_book"))
    done = meshnode("binding", "check", file)
    assert done.code == 0 and f"{file}: fine, hash " in done.out
    told = meshnode("binding", "check", file, "--json").json
    assert told["ok"] is True
    [matching] = told["prevents_founding"]
    assert told["not_carried_out"] and all(" " in sentence for sentence in told["not_carried_out"])
    for sentence in (matching, *told["not_carried_out"]):
        assert f"\n    {sentence}\n" in done.out and sentence in file.read_text()
    assert "this version cannot found a microgrid with it" in done.out
    refused = complaint("init", tmp_path / "a", "--community", "A", "--name", "a", "--binding", file)
    assert (
        refused.startswith("the microgrid cannot be founded: this version does not carry out") and matching in refused
    )
    assert not (tmp_path / "a").exists()

    listed = meshnode("binding", "preset", "--json").json
    assert [name for name in listed["presets"] if listed["prevents_founding"][name]] == [
        "island-order-book",
    ]
    assert listed["not_carried_out"]["island-order-book"] == told["not_carried_out"]
    charging = init(tmp_path / "b", "--preset", "charging-yard")
    assert charging["not_carried_out"] == listed["not_carried_out"]["charging-yard"] != []
    # Sharing by use and by fixed shares are carried out.
    for name in ("italian-energy-community", "spanish-self-consumption"):
        assert init(tmp_path / name, "--preset", name)["not_carried_out"] == listed["not_carried_out"][name]
    italian = meshnode("binding", "preset", "--language", "it").out
    assert matching not in italian and "    this version cannot found a microgrid with it" in italian


def test_all_mistakes_of_a_binding_at_once_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "ours.zen"
    text = VILLAGE.read_text().replace("0.30 EUR", "0,30 EURO").replace("settlement period is", "settling period is")
    file.write_text(text)
    done = meshnode("binding", "check", file)
    assert done.code == 2 and done.err == ""
    places = re.findall(rf"^{re.escape(str(file))}:(\d+): mistake: ", done.out, re.M)
    wrong = [
        n for n, (a, b) in enumerate(zip(VILLAGE.read_text().split("\n"), text.split("\n"), strict=True), 1) if a != b
    ]
    assert wrong and set(map(int, places)) >= set(wrong)
    assert meshnode("binding", "check", file, "--json").json["ok"] is False
    for command in (("hash",), ("fmt",), ("translate", "--to", "it")):
        assert complaint("binding", command[0], file, *command[1:]).startswith(f"{file}: line {wrong[0]}, column ")


def test_one_hash_in_two_languages(tmp_path: Path) -> None:
    italian = meshnode("binding", "translate", VILLAGE, "--to", "it").out
    assert "\nRegola lingua 'it'\n" in italian
    assert spawn("binding", "hash", "-", stdin=italian.encode()).out == f"{VILLAGE_HASH}\n"
    assert spawn("binding", "fmt", "-", "--json", stdin=italian.encode()).json["text"] == italian
    assert "klingon" in complaint("binding", "translate", VILLAGE, "--to", "klingon")


def test_fmt_writes_the_file_only_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "ours.zen"
    file.write_text(VILLAGE.read_text() + "\n\n\n")
    before = file.read_text()
    assert meshnode("binding", "fmt", file).out == VILLAGE.read_text()
    assert file.read_text() == before
    assert meshnode("binding", "fmt", file, "--write").out == f"{file}: written\n"
    assert file.read_text() == VILLAGE.read_text()


def test_presets_are_listed_and_printed() -> None:
    listed = meshnode("binding", "preset").out.splitlines()
    assert [line for line in listed if line[0] != " "][:2] == ["mid-market-village", "neighbour-market"]
    assert meshnode("binding", "preset", "neighbour-market", "--language", "it").out == preset("neighbour_market", "it")
    assert complaint("binding", "preset", "utopia").startswith("no preset «utopia»; there are mid-market-village,")


def test_files_that_are_not_there() -> None:
    assert complaint("binding", "check", "/nowhere.zen") == (
        "/nowhere.zen: No such file or directory\n    check the name of the file"
    )
    assert "/nowhere.bin: No such file" in complaint("meter", "decode", "--codec", "sml", "/nowhere.bin")


# --- meters


P1 = (
    b"/ISK5\\2M550T-1012\r\n\r\n1-0:1.8.1(000123.456*kWh)\r\n1-0:1.8.2(000000.000*kWh)\r\n"
    b"1-0:2.8.1(000007.000*kWh)\r\n1-0:2.8.2(000000.000*kWh)\r\n1-0:1.7.0(00.512*kW)\r\n1-0:2.7.0(00.000*kW)\r\n!\r\n"
)


def test_a_capture_is_decoded_to_json() -> None:
    done = spawn("meter", "decode", "--codec", "dsmr", "-", stdin=P1)
    [telegram] = done.json
    assert done.code == 0
    assert telegram["measurement"]["import_wh"] == 123_456
    assert (telegram["measurement"]["export_wh"], telegram["measurement"]["power_w"]) == (7_000, 512)


def test_a_capture_without_a_telegram_is_a_no() -> None:
    done = spawn("meter", "decode", "--codec", "sml", "-", stdin=P1)
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: -: no sml telegram in it\n    is it another kind of meter, or was it cut off?\n"
    assert complaint("meter", "decode", "--codec", "morse", __file__).startswith('codec "morse": there is none')


def test_an_altered_digit_is_a_checksum_that_does_not_hold() -> None:
    whole = P1.rstrip(b"\r\n")
    signed = whole + b"%04X\r\n" % crc16_arc(whole)
    assert len(spawn("meter", "decode", "--codec", "dsmr", "-", stdin=signed).json) == 1
    altered = signed.replace(b"123.456", b"123.457")
    done = spawn("meter", "decode", "--codec", "dsmr", "-", stdin=altered)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: -: the checksum of one telegram does not hold")
    both = spawn("meter", "decode", "--codec", "dsmr", "-", stdin=altered + signed)
    assert both.code == 0 and len(both.json) == 1 and both.err.startswith("-: the checksum of one telegram")


def test_the_short_form_of_a_receipt_is_in_the_help() -> None:
    assert "meshnode receipt ... without a command means: meshnode receipt get ..." in meshnode("receipt", "--help").out
    assert "receipt ID writes one" in meshnode("--help").out


def test_a_shared_capture(data) -> None:  # type: ignore[no-untyped-def]
    folder = data("telegrams", "sml")
    file = sorted(path for path in folder.iterdir() if path.suffix in (".bin", ".hex", ".txt"))[0]
    assert meshnode("meter", "decode", "--codec", "sml", file).json[0]["codec"] == "sml"


def test_a_meter_is_tried(tmp_path: Path) -> None:
    words = ("meter", "try", "--driver", "simulated", "--set", "seed=4", "--set", "interval_ms=20", "--count", 3)
    lines = meshnode(*words, "--json").out.splitlines()
    assert [json.loads(line)["quality"] for line in lines] == ["simulated"] * 3
    shown = meshnode(*words)
    assert shown.code == 0
    assert re.fullmatch(r"(\d\d:\d\d:\d\d +-?\d+ W  import [\d.]+ k?Wh  export .*  simulated\n){3}", shown.out)


def test_a_meter_that_cannot_be_tried() -> None:
    assert complaint("meter", "try", "--driver", "dsmr", "--port", "/dev/nowhere") == (
        "port /dev/nowhere: there is no such device; expected the name of a serial port\n"
        "    plug the reader in and look for its name with: ls -l /dev/serial/by-id"
    )
    assert 'driver "abacus": there is none of that name' in complaint("meter", "try", "--driver", "abacus")
    assert complaint("meter", "try", "--driver", "sml").startswith("--port: not given; the driver sml reads a serial")
    assert complaint("meter", "try", "--driver", "simulated", "--set", "seed") == (
        "--set: found 'seed', expected key=value\n    write it like --set seed=4"
    )
    wrong = complaint("meter", "try", "--driver", "simulated", "--set", "bana=1")
    assert wrong.startswith("--set bana: ") and "has the settings interval_ms, seed" in wrong
    assert "configuration file" not in wrong


def test_a_silent_meter_is_a_no_and_ctrl_c_is_not_an_error() -> None:
    main_end, meter_end = os.openpty()
    try:
        port = os.ttyname(meter_end)
        said = complaint("meter", "try", "--driver", "dsmr", "--port", port, "--seconds", "0.5", code=1)
        assert said == f"{port}: no measurement\n    is the cable right, and the meter's port switched on?"
    finally:
        os.close(main_end)
        os.close(meter_end)
    words = ["-m", "meshnode", "meter", "try", "--driver", "simulated", "--set", "seed=1", "--set", "interval_ms=20"]
    with subprocess.Popen([sys.executable, *words], env=environment(), cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_drivers_and_codecs_are_listed() -> None:
    assert meshnode("meter", "list", "--json").json == {
        "drivers": ["dsmr", "replay", "simulated", "sml"],
        "codecs": ["dsmr", "sml"],
    }


# --- how long it takes to be of use


def test_how_fast_commands_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints milliseconds; what is asserted is only that the heavy libraries stay out."""
    init(tmp_path / "a")
    rows = []
    for words in (("--help",), ("binding", "check", str(VILLAGE)), ("status", "--dir", str(tmp_path / "a"))):
        began = time.perf_counter()
        spawn(*words)
        rows.append(f"{' '.join(words[:2]):16} {round((time.perf_counter() - began) * 1000):5} ms")
        code = f"import sys; sys.argv[1:] = {list(words)!r}\nfrom meshnode.cli.main import main\ntry: main()\n"
        code += "except SystemExit: pass\nprint(*sorted(sys.modules), file=sys.stderr)"
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, check=True
        )
        loaded = set(done.stderr.decode().split("\n")[-2].split())
        assert not loaded & {"libp2p", "multiaddr", "starlette", "hypercorn", "rich", "asyncio", "meshnode.machine"}
    with capsys.disabled():
        print("\nstart of a command, Python's own start included:", *rows, sep="\n  ")
