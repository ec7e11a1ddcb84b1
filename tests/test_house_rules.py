"""House rules: what a reader may rely on in every file of this project.

Whole numbers where every node must agree, a first line in every module,
modules of a readable length, and nothing left unfinished or tied to one computer.
"""

import ast
import re
from pathlib import Path

import pytest

from tests.source import PACKAGES, ROOT, modules, project_files, tree
from tests.test_layers import APPLY_PATH, pure_modules

# A module that outgrows this holds more than one noun; most should have less than 400 lines.
MAX_MODULE_LINES = 500
# One table, whose rows are read one at a time.
TABLES = (Path("zencode/sentences.py"),)

TEXT_SUFFIXES = (
    *(".py", ".md", ".toml", ".cddl", ".zen", ".sh", ".html", ".css", ".js", ".mjs", ".yml", ".yaml", ".j2"),
    *(".txt", ".lock", ".service", ".cfg", ".conf", ".json", ""),
)

# Written in halves, so that this file does not contain what it forbids.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "HA" + "CK")) + r")\b")
HOME_PATH = re.compile(r"(?<![\w.~$}])/(?:root|work|home/\w+|Users/\w+)/")
INDEX_HOST = re.compile(
    "|".join(
        re.escape(".".join(parts))
        for parts in (
            *(("py" + "pi", "org"), ("python" + "hosted", "org"), ("registry", "npm" + "js", "org")),
            *(("deb", "debian", "org"), ("security", "debian", "org"), ("pi" + "wheels", "org")),
        )
    )
)


def text_files() -> list[Path]:
    return project_files(*TEXT_SUFFIXES)


def lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """`path:line: match` for every match in the files."""
    return [
        f"{path}:{number}: {match.group()}"
        for path in paths
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        for match in pattern.finditer(line)
    ]


@pytest.mark.parametrize("place", APPLY_PATH)
def test_what_is_replicated_computes_in_whole_numbers(place: str) -> None:
    found = [f"{path}:{line} {what}" for path in pure_modules(place) for line, what in inexact(tree(path))]
    assert found == []


def inexact(module: ast.Module) -> list[tuple[int, str]]:
    """Float and complex literals, true division, and names that make floats, with their lines."""
    found = []
    for node in ast.walk(module):
        match node:
            case ast.Constant(value=float() | complex()):
                found.append((node.lineno, f"the literal {node.value}"))
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                found.append((node.lineno, "true division; use // or the splitter"))
            case ast.Name(id="float" | "complex" | "round"):
                found.append((node.lineno, node.id))
            case ast.Import(names=names) if any(alias.name in ("math", "cmath", "statistics") for alias in names):
                found.append((node.lineno, "a module of float functions"))
            case ast.ImportFrom(module="math" | "cmath" | "statistics", names=names) if any(
                alias.name not in ("gcd", "lcm", "isqrt", "comb", "perm", "prod", "factorial") for alias in names
            ):
                found.append((node.lineno, "a float function"))
    return found


def test_the_search_for_inexact_numbers_finds_them() -> None:
    wrong = ("a = 0.5", "b = 3 / 4", "b /= 2", "c = float(b)", "from math import sqrt", "import statistics")
    right = ("from math import isqrt", "d = 7 // 2", "d //= 2")
    found = inexact(ast.parse("\n".join((*wrong, *right))))
    assert sorted(line for line, _ in found) == [1, 2, 3, 4, 5, 6]


def test_every_module_opens_with_a_line_that_says_what_it_is() -> None:
    """An empty `__init__.py` of a folder of tests has nothing to say."""
    silent = [
        str(path)
        for path in project_files(".py")
        if not (path.name == "__init__.py" and path.parts[0] == "tests" and not tree(path).body)
        and not (ast.get_docstring(tree(path)) or "").partition("\n")[0].strip()
    ]
    assert silent == []


def test_modules_have_a_readable_length() -> None:
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in project_files(".py")
        if path not in TABLES
    }
    assert {str(path): length for path, length in lengths.items() if length > MAX_MODULE_LINES} == {}


def test_nothing_is_left_unfinished() -> None:
    written_by_hand = [path for path in text_files() if path.suffix not in (".lock", ".json", ".txt")]
    assert lines_with(UNFINISHED, written_by_hand) == []
    raised = [
        f"{path}:{node.lineno}"
        for path in modules(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and node.id == "NotImplementedError"
    ]
    assert raised == []


def test_no_path_of_one_computer() -> None:
    assert lines_with(HOME_PATH, text_files()) == []


def test_no_package_index_is_named() -> None:
    assert lines_with(INDEX_HOST, text_files()) == []


def test_the_searches_find_what_they_forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.test_house_rules.ROOT", tmp_path)
    bad = ("# TO" + "DO later", "/ro" + "ot/x", "cd /ho" + "me/anna/mesh", "https://py" + "pi.org/simple")
    good = ("a method", "framework/x", "~/notes/x", "example.org", "/var/lib/meshnode")
    (tmp_path / "notes.md").write_text("\n".join((*bad, *good)), encoding="utf-8")
    found = [line for rule in (UNFINISHED, HOME_PATH, INDEX_HOST) for line in lines_with(rule, [Path("notes.md")])]
    assert [line.split(":")[1] for line in found] == ["1", "2", "3", "4"]
