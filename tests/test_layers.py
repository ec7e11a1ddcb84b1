"""Layers: who may import whom, read from the syntax trees.

Libraries know nothing of the node, the pure core knows nothing of the world,
and each foreign library is known in one place.
"""

import ast
from pathlib import Path

import pytest

from tests.source import PACKAGES, Import, imports, modules, tree

# The replicated state machine and what it stands on: every node must compute the same bytes.
APPLY_PATH = (
    "protocols",
    "meshnode/amounts.py",
    "meshnode/local_time.py",
    "meshnode/effects",
    "meshnode/origin",
    "meshnode/ledger",
    "meshnode/market",
    "meshnode/settlement",
    "meshnode/rules.py",
    "meshnode/execution",
    "meshnode/machine.py",
    "meshnode/billing",
    "meshnode/balancing",
)
PURE = (*APPLY_PATH, "meshnode/autopilot.py", "meshnode/roster.py", "zencode", "drivers/codecs")

# Programs that write a document from a package's tables; they read and write files, and no module imports them.
GENERATORS = ("protocols/spec.py", "zencode/language.py", "zencode/highlighting.py")

# Clocks, chance, disks, sockets, processes and the environment: what makes two runs differ.
IMPURE = (
    *(
        "trio",
        "asyncio",
        "anyio",
        "threading",
        "multiprocessing",
        "concurrent",
        "signal",
        "subprocess",
        "sched",
    ),
    *("time", "random", "secrets", "uuid"),
    *("os", "pathlib", "tempfile", "shutil", "glob", "fcntl", "sqlite3", "dbm", "mmap"),
    *("socket", "ssl", "select", "selectors", "http", "urllib", "platform", "sys", "getpass", "logging"),
)
# A generator is data once it is seeded; random's functions share a hidden one that is not.
PURE_AFTER_ALL = ("random.Random",)
# What differs between Python versions and installations; times come to apply as integers.
VERSIONED = (
    "datetime",
    "zoneinfo",
    "calendar",
    "unicodedata",
    "re",
    "locale",
    "gettext",
    "decimal",
    "fractions",
)

# Who alone may import a foreign library; everything that speaks to it stands in that place.
ONLY_IN = {
    "libp2p": ("meshnode/network",),
    "multiaddr": ("meshnode/network",),
    "noise": ("meshnode/network",),
    "bleak": ("drivers/ble.py",),
    "aiomqtt": ("drivers/mqtt.py",),
    "asyncio": ("drivers/ble.py", "drivers/mqtt.py"),  # those two libraries run on asyncio, in a thread
    "trio_asyncio": (),
    "starlette": ("meshnode/web",),
    "hypercorn": ("meshnode/web",),
    "h11": ("meshnode/client.py",),
    "pygls": ("meshnode/language_server.py", "meshnode/cli/binding_pages.py"),  # the latter asks whether it is there
    "lsprotocol": ("meshnode/language_server.py",),
}

# Built-ins that read the world, or whose value differs from process to process.
BUILTINS = ("open", "input", "id", "hash")
CLOCK_METHODS = ("now", "utcnow", "today")

LIBRARIES = ("protocols", "zencode", "drivers")

# The layers of meshnode, lowest first. A part may import its own modules and those of
# lower layers; within one layer the parts do not know one another.
LAYERS = (
    ("amounts", "errors", "local_time"),
    ("effects",),
    ("origin",),
    ("market", "ledger"),
    ("settlement",),
    ("rules", "plugins"),
    ("execution",),
    ("machine",),
    ("billing", "balancing", "mempool"),
    ("clock", "keys", "config", "vitals", "actuator"),
    ("battery", "moved"),
    ("store", "memos"),
    ("views", "ledger_tools", "outbox", "room", "abilities"),
    ("autopilot",),
    ("roster", "replaying", "examples"),
    ("network", "web", "collector", "client"),
    ("fate",),
    ("news", "controller"),
    ("submissions", "attendant", "storekeeper"),
    ("accuser", "duty", "declaring"),
    ("microgrid", "founding"),
    ("invitations",),
    ("admission", "renewal"),
    ("node",),
    ("loopback",),
    ("demo", "whatif", "language_server"),
    ("cli",),
)


def found(broken: list[tuple[Path, Import]]) -> list[str]:
    return [f"{path}:{wrong.line} imports {wrong.module}" for path, wrong in broken]


def pure_modules(place: str) -> list[Path]:
    """The modules of a pure place, but for the generators of documents beside them."""
    return [path for path in modules(place) if str(path) not in GENERATORS]


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_know_neither_the_node_nor_one_another(library: str) -> None:
    others = tuple(package for package in (*PACKAGES, "tests", "deploy") if package != library)
    broken = [(path, one) for path in modules(library) for one in imports(path) if one.is_within(*others)]
    assert found(broken) == []


def test_the_product_does_not_know_its_tests() -> None:
    broken = [(path, one) for path in modules(*PACKAGES) for one in imports(path) if one.is_within("tests", "deploy")]
    assert found(broken) == []


def test_no_module_imports_a_generator() -> None:
    generators = tuple(name.removesuffix(".py").replace("/", ".") for name in GENERATORS)
    broken = [(path, one) for path in modules(*PACKAGES) for one in imports(path) if one.is_within(*generators)]
    assert found(broken) == []


@pytest.mark.parametrize("place", PURE)
def test_pure_packages_touch_no_world(place: str) -> None:
    broken = [
        (path, one)
        for path in pure_modules(place)
        for one in imports(path)
        if one.is_within(*IMPURE) and one.module not in PURE_AFTER_ALL
    ]
    assert found(broken) == []


@pytest.mark.parametrize("place", APPLY_PATH)
def test_what_is_replicated_uses_nothing_that_python_versions_change(place: str) -> None:
    broken = [(path, one) for path in pure_modules(place) for one in imports(path) if one.is_within(*VERSIONED)]
    assert found(broken) == []


@pytest.mark.parametrize("place", PURE)
def test_pure_packages_open_no_file_and_ask_no_clock(place: str) -> None:
    """Built-ins and methods that need no import of their own, and generators without a seed."""
    broken = [f"{path}:{line} calls {name}()" for path in pure_modules(place) for line, name in worldly(tree(path))]
    assert broken == []


def worldly(module: ast.Module) -> list[tuple[int, str]]:
    """The calls, with their lines, whose result the arguments do not decide."""
    calls = [(node, called(node)) for node in ast.walk(module) if isinstance(node, ast.Call)]
    return [
        (call.lineno, name)
        for call, name in calls
        if name in (*BUILTINS, *CLOCK_METHODS) or (name == "Random" and not call.args)
    ]


def called(call: ast.Call) -> str:
    """The name of a function that is called, or the last one of a clock's method: now for datetime.datetime.now()."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr if call.func.attr in (*CLOCK_METHODS, "Random") else ""
    return call.func.id if isinstance(call.func, ast.Name) else ""


def test_the_search_for_worldly_calls_finds_them() -> None:
    wrong = ("open('a')", "datetime.now()", "hash('a')", "Random()", "random.Random()")
    right = ("Random(7)", "random.Random(seed)", "book.open('a')", "now_s()", "period.id()")
    assert [line for line, _ in worldly(ast.parse("\n".join((*wrong, *right))))] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_foreign_library_is_known_in_one_place(library: str) -> None:
    allowed = modules(*ONLY_IN[library])
    broken = [
        (path, one)
        for path in modules(*PACKAGES)
        if path not in allowed
        for one in imports(path)
        if one.is_within(library)
    ]
    assert found(broken) == []


def test_every_part_of_meshnode_has_its_layer() -> None:
    parts = {part_of(path) for path in modules("meshnode")} - {"__init__", "__main__"}
    unknown = sorted(parts.difference(*LAYERS))
    assert unknown == [], "name the layer of these parts of meshnode in LAYERS"


def test_meshnode_imports_downwards_only() -> None:
    level = {part: height for height, parts in enumerate(LAYERS) for part in parts}
    broken = []
    for path in modules("meshnode"):
        own = part_of(path)
        for one in imports(path):
            other = one.module.split(".")[1] if one.module.startswith("meshnode.") else own
            if other in level and own in level and other != own and level[other] >= level[own]:
                broken.append((path, one))
    assert found(broken) == []


def part_of(path: Path) -> str:
    """The part of meshnode that a module belongs to: `ledger` for meshnode/ledger/accounts.py."""
    return Path(path.parts[1]).stem


def test_relative_imports_are_read_as_absolute_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader itself: every way to write an import is seen."""
    module = tmp_path / "meshnode" / "ledger" / "accounts.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "import os.path\n"
        "from . import assets\n"
        "from ..market import book as b\n"
        "from .. import machine\n"
        "def late():\n    from time import time\n",
        encoding="utf-8",
    )
    monkeypatch.setattr("tests.source.ROOT", tmp_path)
    read = imports(Path("meshnode/ledger/accounts.py"))
    assert [one.module for one in read] == [
        "os.path",
        "meshnode.ledger.assets",
        "meshnode.market.book",
        "meshnode.machine",
        "time.time",
    ]
    imports.cache_clear()
    tree.cache_clear()
