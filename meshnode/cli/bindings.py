"""Bindings: `meshnode binding` - contracts in plain sentences, checked and spelled."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

from meshnode.cli.output import Fault, Json, answer, colour
from meshnode.cli.parser import FINE, MEND, Argument, Group, Option
from meshnode.cli.place import read_input

if TYPE_CHECKING:
    from meshnode.examples import Outcome

group = Group("Contracts in plain sentences: check, spell, translate them.")

File = Annotated[str, Argument("FILE", "The binding's text; - reads it from stdin.")]


def add_to(app: Group) -> None:
    """Add the group to the command line."""
    from meshnode.cli import binding_pages

    binding_pages.add_to(group)
    app.add("binding", group)


@group.command()
def check(file: File, json: Json = False) -> int:
    """Say every mistake in a binding, what this version does not carry out, and examples that come to something else.

    The examples at the end of the text are carried out on a ledger of their own. Exit 2 if there is an error or an
    example does not come to what it says.
    """
    from meshnode.amounts import format_count
    from meshnode.plugins import install
    from zencode import commands

    install()
    text = read_input(file)
    found = commands.check(text)
    broken = any(finding.level in (commands.MISTAKE, "error") for finding in found)
    code = "" if any(finding.level == commands.MISTAKE for finding in found) else commands.hash(text)
    lines = []
    for finding in found:
        place = f"{file}:{finding.line}" if finding.line else file
        level = colour(finding.level, "yellow" if finding.level == "warning" else "red", sys.stdout)
        lines.append(f"{place}: {level}: {finding.message}")
    hindering, beyond = ((), ()) if broken else _not_carried_out(text)
    examples = () if broken or hindering else _examples(text)
    lines += _unmet(file, examples)
    failed = any(one.unmet for one in examples)
    if not broken and not failed:
        lines.append(f"{file}: {colour('fine', 'green', sys.stdout)}, hash {code}")
    if examples and not failed:
        lines.append(f"{file}: {format_count(len(examples), 'example')} carried out, with the results that they say")
    lines += [f"{file}: note: {line}" if line[0] != " " else line for line in _notes(hindering, beyond)]
    value = {
        "file": file,
        "ok": not broken and not failed,
        "hash": code,
        "findings": [
            {"level": one.level, "line": one.line, "column": one.column, "message": one.message} for one in found
        ],
        "prevents_founding": list(hindering),
        "not_carried_out": list(beyond),
        "examples": [
            {
                "title": one.title,
                "line": one.line,
                "ok": not one.unmet,
                "unmet": [{"line": bad.line, "expected": bad.expected, "found": bad.found} for bad in one.unmet],
            }
            for one in examples
        ],
    }
    answer(value, "\n".join(lines), json)
    return MEND if broken or failed else FINE


def _examples(text: bytes) -> tuple[Outcome, ...]:
    """What the examples of a binding come to. There are none to be carried out where it cannot be founded."""
    from zencode.reader import read_document

    document = read_document(text)
    if not document.examples:
        return ()
    from meshnode.examples import run_examples
    from meshnode.plugins import install

    return run_examples(document, install())


def _unmet(file: str, examples: Sequence[Outcome]) -> list[str]:
    error = colour("error", "red", sys.stdout)
    return [
        f"{file}:{bad.line}: {error}: example «{title}» says «{bad.expected}»\n    it came to: {bad.found}"
        for title, bad in ((one.title, bad) for one in examples for bad in one.unmet)
    ]


def _not_carried_out(text: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences that keep this version from founding a microgrid with a binding, and those that it leaves out."""
    from meshnode.plugins import install
    from meshnode.rules import hindrances, left_out
    from zencode.reader import read_document

    document = read_document(text)
    binding, language = document.binding, document.language
    return hindrances(binding, install(), language), left_out(binding, language)


def _notes(hindering: tuple[str, ...], beyond: tuple[str, ...]) -> list[str]:
    lines = []
    if hindering:
        lines.append("this version cannot found a microgrid with it, because it does not carry out:")
        lines += [f"    {sentence}" for sentence in hindering]
    if beyond:
        lines.append("this version leaves out:")
        lines += [f"    {sentence}" for sentence in beyond]
    return lines


@group.command()
def fmt(
    file: File,
    write: Annotated[bool, Option("--write", "Write it back into the file.")] = False,
    json: Json = False,
) -> None:
    """Print a binding in its canonical spelling; comments and order stay."""
    from zencode import commands

    with mistakes_of(file):
        text = commands.fmt(read_input(file))
    if write and file != "-":
        from pathlib import Path

        from meshnode.cli.place import write_output

        write_output(Path(file), text.encode())
        answer({"file": file, "written": True}, f"{file}: written", json)
    else:
        answer({"file": file, "text": text}, text.rstrip("\n"), json)


@group.command()
def hash(file: File, json: Json = False) -> None:
    """Print a binding's hash: the same in every language and spelling."""
    from zencode import commands

    with mistakes_of(file):
        code = commands.hash(read_input(file))
    answer({"file": file, "hash": code}, code, json)


@group.command()
def translate(
    file: File,
    to: Annotated[str, Option("--to", "Language: en, it ...")],
    json: Json = False,
) -> None:
    """Print a binding in another language; its hash stays the same."""
    from zencode import commands

    with mistakes_of(file):
        text = commands.translate(read_input(file), to)
    answer({"file": file, "language": to, "text": text}, text.rstrip("\n"), json)


@contextmanager
def mistakes_of(file: str) -> Iterator[None]:
    """Mistakes of a binding are said with the name of the file that they are in. Raises Fault.

    What packages add to the catalogue is known from then on.
    """
    from meshnode.plugins import install
    from zencode.mistakes import BindingErrors
    from zencode.terms import TermsError

    install()
    try:
        yield
    except BindingErrors as error:
        raise Fault("\n".join(f"{file}: {mistake}" for mistake in error.mistakes)) from error
    except TermsError as error:
        raise Fault(f"{file}: {error}\n    see the lines with: meshnode binding check {file}") from error


@group.command()
def preset(
    name: Annotated[str, Argument("[NAME]", "Which one; left out, all names are printed.")] = "",
    language: Annotated[str, Option("--language", "en or it.")] = "en",
    json: Json = False,
) -> None:
    """Print a binding to start from, or list them with what this version does not carry out."""
    from zencode import presets

    if not name:
        found = {
            known.replace("_", "-"): _not_carried_out(preset_text(known, language).encode()) for known in presets.NAMES
        }
        value = {
            "presets": list(found),
            "prevents_founding": {known: list(hindering) for known, (hindering, _) in found.items()},
            "not_carried_out": {known: list(beyond) for known, (_, beyond) in found.items()},
        }
        lines = [line for known, parts in found.items() for line in (known, *(f"    {one}" for one in _notes(*parts)))]
        answer(value, "\n".join(lines), json)
        return
    text = preset_text(name, language)
    answer({"preset": name, "language": language, "text": text}, text.rstrip("\n"), json)


def preset_text(name: str, language: str = "en") -> str:
    """The text of a preset. Raises Fault if there is none."""
    from zencode import presets

    try:
        return presets.preset(name, language)
    except ValueError as error:
        raise Fault(f"{error}\n    see them with: meshnode binding preset") from error
