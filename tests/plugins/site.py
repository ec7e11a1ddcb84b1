"""Site: the example package as an installer would have left it - its module, and the metadata beside it."""

from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zencode.additions import enroll

HERE = Path(__file__).parent / "solar_club"
MODULE = "solar_club"


def lay_out(place: Path) -> Path:
    """Put the package into a directory of packages; what it declares is what its pyproject.toml says."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = place / f"{MODULE}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(HERE / f"{MODULE}.py", place)
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (metadata / "METADATA").write_text(head, encoding="utf-8")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


@contextmanager
def installed_here(place: Path) -> Iterator[None]:
    """The packages of a directory are found by this process; afterwards nothing is enrolled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        try:
            yield
        finally:
            enroll([])
            sys.modules.pop(MODULE, None)
