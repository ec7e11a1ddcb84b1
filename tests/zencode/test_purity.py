"""What zencode may import: nothing of the node, and in the state machine's part no text processing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import zencode

ROOT = Path(zencode.__file__).parent
MODULES = {
    ".".join(("zencode", *path.relative_to(ROOT).with_suffix("").parts)): path
    for path in ROOT.rglob("*.py")
    if path.stem != "__init__"
}
#: What `apply` may use: the tree and its view. It compares bytes and numbers and never parses text.
STATE_MACHINE = ("zencode.binding", "zencode.terms", "zencode.versions")


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "zencode":
                found |= {f"zencode.{alias.name}" for alias in node.names}
    return found


def _reachable(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        found = _imports(MODULES[waiting.pop()])
        waiting += [name for name in found - seen if name in MODULES]
        seen |= found
    return seen


@pytest.mark.parametrize("module", sorted(MODULES))
def test_zencode_knows_nothing_of_the_node(module: str) -> None:
    roots = {name.split(".")[0] for name in _imports(MODULES[module])}
    assert not roots & {"meshnode", "protocols", "drivers"}
    assert not roots & {"trio", "time", "datetime", "random", "os", "socket"}


@pytest.mark.parametrize("module", STATE_MACHINE)
def test_the_state_machine_never_parses_text(module: str) -> None:
    forbidden = {"re", "unicodedata", "locale", "zoneinfo", "pathlib", "zencode.reader", "zencode.writer"}
    assert not _reachable(module) & forbidden


def test_only_the_source_of_a_text_asks_the_unicode_database() -> None:
    assert [name for name, path in MODULES.items() if "unicodedata" in _imports(path)] == ["zencode.source"]


def test_no_float_appears() -> None:
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), path
            assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)), path
