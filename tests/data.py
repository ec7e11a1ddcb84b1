"""Shared data: where the captures, scripts and load series lie that no repository carries.

The folder is named by MESHNODE_DATA; without it, ../shared/data beside the
checkout is taken when it is there. Without either, a test that needs the data
skips and says so; in CI that fails the run (tests/conftest.py).
"""

import os
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parent.parent
ABSENT = "shared data absent: set MESHNODE_DATA to its folder"


def data_folder() -> Path | None:
    """The data folder, or None when there is none.

    Raises:
        FileNotFoundError: MESHNODE_DATA names something that is no folder.
    """
    named = os.environ.get("MESHNODE_DATA")
    if named is None:
        beside = ROOT.parent / "shared" / "data"
        return beside if beside.is_dir() else None
    if not named:
        return None  # set to nothing: run without the data
    if not Path(named).is_dir():
        raise FileNotFoundError(f"MESHNODE_DATA names {named}, which is no folder; correct or unset it")
    return Path(named)


def data_path(*parts: str) -> Path:
    """One file or folder of the shared data; skips the calling test when there is no data.

    Raises:
        FileNotFoundError: the data is there, but not this part of it.
    """
    folder = data_folder()
    if folder is None:
        pytest.skip(ABSENT)
    path = folder.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not in the shared data; expected it beside {sorted(os.listdir(folder))}")
    return path


def data_files(folder: str, pattern: str) -> list[ParameterSet]:
    """Parameters for `pytest.mark.parametrize`: each file of a data folder, named by its path.

    Without the data it is one parameter whose test skips, so that the absence is counted.
    """
    if data_folder() is None:
        return [pytest.param(None, id=f"{folder}/{pattern}", marks=pytest.mark.skip(reason=ABSENT))]
    home = data_path(folder)
    files = [pytest.param(path, id=path.relative_to(home).as_posix()) for path in sorted(home.glob(pattern))]
    if not files:
        raise FileNotFoundError(f"no file fits {pattern} in {home}")
    return files
