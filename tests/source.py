"""Source: the project's own files and what their syntax trees say, for tests that hold rules on them."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# The four packages of the product.
PACKAGES = ("meshnode", "protocols", "drivers", "zencode")

# Folders that hold no source of ours: made by tools, or installed.
NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "demo-data"}


class Import(NamedTuple):
    """One name that a module imports, made absolute: `meshnode.ledger.accounts`."""

    module: str
    line: int

    def is_within(self, *packages: str) -> bool:
        """Whether this is one of the packages, or lies inside one."""
        return any(self.module == package or self.module.startswith(f"{package}.") for package in packages)


def project_files(*suffixes: str) -> list[Path]:
    """Every file of the checkout that is ours, relative to the root; with one of the suffixes, if any."""
    return [path.relative_to(ROOT) for path in _walk(ROOT) if not suffixes or path.suffix in suffixes]


def modules(*places: str) -> list[Path]:
    """The Python modules of packages, folders or single files, relative to the root.

    A place that does not exist has no modules.
    """
    return [path for path in project_files(".py") if any(path.is_relative_to(place) for place in places)]


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Everything a module imports, wherever in it: inside functions and for type checking too.

    `from a import b` counts as `a.b`: b may be a module, and if it is not, the
    package it lies in is the same.
    """
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[Import]:
    package = path.parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            upward = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join((*upward, *filter(None, [node.module])))
            yield from (Import(f"{origin}.{alias.name}", node.lineno) for alias in node.names)


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in NOT_OURS or (path.name.startswith(".") and path.name != ".ci"):
            continue
        if path.is_dir():
            yield from _walk(path)
        else:
            yield path
