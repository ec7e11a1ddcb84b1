"""Binding pages: `meshnode binding explain|diff|lsp` - a contract and its changes, for assemblies and for editors."""

from __future__ import annotations

from typing import Annotated

from meshnode.cli.bindings import File, mistakes_of
from meshnode.cli.output import Fault, Json, answer
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import read_input

Language = Annotated[str, Option("--language", "Of the page: en, it ...; else that of the text.")]


def add_to(group: Group) -> None:
    """Add the commands to `meshnode binding`."""
    group.command()(explain)
    group.command()(diff)
    group.command()(lsp)


def explain(file: File, language: Language = "", json: Json = False) -> None:
    """Print a page for the assembly: what a binding says, by subject, and what to ask about it."""
    import msgspec

    from zencode import commands
    from zencode.explanation import page_text

    with mistakes_of(file):
        page = commands.explain(read_input(file), language or None)
    answer({"file": file, **msgspec.to_builtins(page)}, lambda: page_text(page).rstrip("\n"), json)


def diff(
    old: Annotated[str, Argument("OLD", "The binding as it is; - reads it from stdin.")],
    new: Annotated[str, Argument("NEW", "The binding as it shall be, in any language.")],
    language: Language = "",
    json: Json = False,
) -> None:
    """Print what changes from one binding to another, in sentences."""
    import msgspec

    from zencode import commands
    from zencode.difference import difference_text

    before, after = read_input(old), read_input(new)
    with mistakes_of(old):
        commands.hash(before)
    with mistakes_of(new):
        found = commands.diff(before, after, language or None)
    answer({"old": old, "new": new, **msgspec.to_builtins(found)}, lambda: difference_text(found).rstrip("\n"), json)


def lsp(
    json: Annotated[bool, Option("--json", "Start nothing; say as JSON which requests would be answered.")] = False,
) -> None:
    """Answer an editor: completion, mistakes while one types, spelling, meanings. Speaks LSP on stdin and stdout."""
    try:
        import pygls  # noqa: F401
    except ImportError as error:
        raise Fault(
            "the language server needs the package pygls, which nodes do without\n"
            "    install it with: pip install 'meshnode[editor]'"
        ) from error
    from meshnode.language_server import server

    made = server()
    if json:
        answer({"name": made.name, "version": made.version, "requests": sorted(made.protocol.fm.features)}, "", json)
    else:
        made.start_io()
