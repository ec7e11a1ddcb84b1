"""Registry: mechanisms are found by entry point and pinned by name and version."""

import ast
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import meshnode
from meshnode.market import MechanismError, Mechanisms
from meshnode.market.pay_as_clear import MECHANISM, PayAsClear
from meshnode.market.registry import BUILTIN, GROUP, installed_mechanisms, load

PACKAGE = Path(meshnode.__file__).parent


class Newer(PayAsClear):
    version = 2


def test_the_built_in_mechanisms_are_installed() -> None:
    mechanisms = installed_mechanisms()
    assert set(mechanisms.supported()) >= {("mid-market-rate", 1), ("pay-as-clear", 1)}
    assert mechanisms.get("pay-as-clear", 1) is MECHANISM


def test_the_project_declares_the_same_mechanisms() -> None:
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"][GROUP] == BUILTIN


def test_versions_live_side_by_side() -> None:
    mechanisms = Mechanisms([Newer(), MECHANISM])
    assert mechanisms.supported() == (("pay-as-clear", 1), ("pay-as-clear", 2))
    assert mechanisms.get("pay-as-clear", 1) is MECHANISM


def test_a_missing_version_says_what_there_is() -> None:
    with pytest.raises(MechanismError, match="pay-as-clear version 2 is not installed on this node; it has: pay"):
        Mechanisms([MECHANISM]).get("pay-as-clear", 2)
    with pytest.raises(MechanismError, match="it has: none"):
        Mechanisms([]).get("pay-as-clear", 1)


def test_two_packages_cannot_claim_one_pin() -> None:
    with pytest.raises(MechanismError, match="pay-as-clear version 1 is provided twice"):
        Mechanisms([MECHANISM, PayAsClear()])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_package:MECHANISM", "cannot be imported: No module named 'no_such_package'"),
        ("meshnode.market.pay_as_clear:MISSING", "cannot be imported: .* has no attribute 'MISSING'"),
        ("meshnode.market.pay_as_clear:NAME", "is a str without name, version and clear"),
    ],
)
def test_a_broken_entry_point_is_named(target: str, message: str) -> None:
    with pytest.raises(MechanismError, match=message):
        load(EntryPoint("third-party", target, GROUP))


PURE = [
    PACKAGE / "amounts.py",
    *(PACKAGE / "market").glob("*.py"),
    *(PACKAGE / "settlement").glob("*.py"),
]

# Market and ledger do not know one another; settlement stands on both, and on the records that both are told of.
BELOW = {
    "meshnode": (),
    "market": ("meshnode.market",),
    "settlement": (
        "meshnode.market",
        "meshnode.ledger",
        "meshnode.origin",
        "meshnode.settlement",
        "protocols",
        "zencode.",
    ),
}


@pytest.mark.parametrize("path", PURE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_modules_are_pure(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"{path}:{node.lineno}"
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)), f"{path}:{node.lineno}"
    allowed = {
        "__future__",
        "bisect",
        "collections",
        "collections.abc",
        "enum",
        "hashlib",
        "heapq",
        "msgspec",
        "typing",
        "meshnode.amounts",
        "meshnode.effects",
        "meshnode.local_time",
    }
    if path.name == "registry.py":
        # Looks for packages, once, when a node starts; nothing here imports it.
        allowed.add("importlib.metadata")
    mine = BELOW[path.parent.name]
    for name in imported - allowed:
        assert name.startswith(mine), f"{path.name} imports {name}"
        assert name != "meshnode.market.registry"
