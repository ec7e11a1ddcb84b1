"""The rules of a test run, tried on small runs of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from tests.data import ABSENT, ROOT, data_files, data_path

STORY = """
import pytest
from tests.data import data_path

def test_adds():
    assert 1 + 1 == 2

def test_reads_a_telegram(data):
    data("telegrams")

def test_reads_another():
    data_path("telegrams")

@pytest.mark.nightly
def test_runs_all_night():
    assert False
"""


def run_pytest(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the story above in a process of its own, under this project's rules."""
    (folder / "test_story.py").write_text(STORY, encoding="utf-8")
    own = {name: value for name, value in os.environ.items() if name not in ("CI", "MESHNODE_DATA")}
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), *options, str(folder)),
        ],
        env={**own, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_skips_are_counted_by_reason(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, MESHNODE_DATA="")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped: 2" in run.stdout
    assert f"    2 {ABSENT}" in run.stdout
    assert "1 passed, 2 skipped, 1 deselected" in run.stdout


def test_a_skip_fails_the_run_in_ci(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, MESHNODE_DATA="", CI="true")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    assert "nothing may skip" in run.stdout


def test_ci_passes_when_nothing_skips(tmp_path: Path) -> None:
    (tmp_path / "telegrams").mkdir()
    run = run_pytest(tmp_path, MESHNODE_DATA=str(tmp_path), CI="true")
    assert run.returncode == 0, run.stdout + run.stderr
    assert "3 passed, 1 deselected" in run.stdout
    assert "skipped" not in run.stdout


def test_nightly_tests_run_when_asked_for(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, "-m", "", "--hypothesis-profile=nightly", MESHNODE_DATA="")
    assert "1 failed, 1 passed, 2 skipped" in run.stdout, run.stdout + run.stderr


def test_every_night_has_new_examples_and_every_other_run_the_same() -> None:
    usual, nightly = (settings.get_profile(name) for name in ("default", "nightly"))
    assert usual.derandomize and not nightly.derandomize
    assert nightly.max_examples >= 20 * usual.max_examples


def test_a_wrong_data_folder_is_an_error_not_a_skip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MESHNODE_DATA", str(tmp_path / "mistyped"))
    with pytest.raises(FileNotFoundError, match="mistyped, which is no folder"):
        data_path("telegrams")
    monkeypatch.setenv("MESHNODE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="telegrams is not in the shared data"):
        data_path("telegrams")


def test_each_data_file_is_one_parameter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sml").mkdir()
    for name in ("b.bin", "a.bin", "notes.txt"):
        (tmp_path / "sml" / name).touch()
    monkeypatch.setenv("MESHNODE_DATA", str(tmp_path))
    assert [parameter.id for parameter in data_files("sml", "*.bin")] == ["a.bin", "b.bin"]
    with pytest.raises(FileNotFoundError, match=r"no file fits \*\.hex"):
        data_files("sml", "*.hex")
    monkeypatch.setenv("MESHNODE_DATA", "")
    (absent,) = data_files("sml", "*.bin")
    assert [mark.kwargs["reason"] for mark in absent.marks] == [ABSENT]
