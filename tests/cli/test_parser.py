"""Parser: a command's table is its signature, and parameters that many commands share stand in it once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import pytest

from meshnode.cli.main import app
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Where
from meshnode.cli.trading import WAIT_S, Acting, Asking, Json

Name = Annotated[str, Argument("NAME", "Whose.")]


class Shared(NamedTuple):
    """What two commands take."""

    times: Annotated[int, Option("--times", "How often.", low=1)]
    place: Annotated[Path | None, Option("--dir", "Where.")] = None
    loud: Annotated[bool, Option("--loud", "So that all hear it.")] = False


CALLED: list[tuple[str, object]] = []
GROUP = Group("Two commands that share their options.")


@GROUP.command()
def greet(name: Name, *, how: Shared) -> None:
    """Greet somebody."""
    CALLED.append((name, how))


@GROUP.command()
def ring(word: Annotated[str, Option("--word", "What.")] = "", *, how: Shared, json: Json = False) -> None:
    """Ring a bell."""
    CALLED.append((word, (how, json)))


def typed(*words: str) -> object:
    """What a command is called with."""
    CALLED.clear()
    command, arguments = GROUP.find(words, "x")
    command(**arguments)
    ((_, found),) = CALLED
    return found


def test_a_grouped_parameter_takes_all_its_options_and_their_defaults() -> None:
    assert typed("greet", "anna", "--times", "3") == Shared(3, None, False)
    assert typed("greet", "--loud", "--dir", "/x", "--times", "1", "anna") == Shared(1, Path("/x"), True)
    assert typed("ring", "--times", "2", "--json") == (Shared(2, None, False), True)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("greet", "anna"), "--times"),
        (("greet", "anna", "--times", "0"), "expected 1 or more"),
        (("greet", "anna", "--times", "often"), "expected a whole number"),
        (("greet", "anna", "--times", "1", "--word", "x"), "--word"),
    ],
)
def test_mistakes_in_it_are_named(words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        typed(*words)
    assert ended.value.code == 2 and complaint in capsys.readouterr().err


def test_help_lists_them_where_the_parameter_stands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        typed("ring", "--help")
    shown = capsys.readouterr().out
    places = [shown.index(f"  {flag}") for flag in ("--word", "--times", "--dir", "--loud", "--json")]
    assert places == sorted(places) and "So that all hear it." in shown


def test_the_shared_options_of_commands_mean_the_same_everywhere(tmp_path: Path) -> None:
    where = ("--dir", str(tmp_path), "--chain", "ab", "--json")
    for words in (("asset", "burn", "SUN", "--amount", "1"), ("contract", "sign", "ab"), ("cash", "release", "ab")):
        _, found = app.find([*words, "--wait", "3", "--key", "k", *where], "meshnode")
        assert found["how"] == Acting(3, "k", tmp_path, "ab", True) and found["how"].place == tmp_path
        _, found = app.find(words, "meshnode")
        assert found["how"] == Acting() and found["how"].wait == WAIT_S
    for words in (("asset", "list"), ("contract", "list"), ("cash", "list"), ("point", "list"), ("order", "trades")):
        _, found = app.find([*words, "--fresh", *where], "meshnode")
        assert found["how"] == Asking(tmp_path, "ab", True, True)
    for words in (("session", "stop", "ab"), ("storage", "stop", "KEPT"), ("validators", "list")):
        _, found = app.find([*words, *where], "meshnode")
        assert found["how"] == Where(tmp_path, "ab", True)
