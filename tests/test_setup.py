"""The set-up script on computers that lack something: what it says, and what it does about it.

The computer is a folder of small programs put first on the PATH; the whole
set-up on a real fresh Debian is `make test-fresh`.
"""

import subprocess
from pathlib import Path

import pytest

from tests.source import ROOT

MEMBER, SUPERUSER = 1000, 0


class Computer:
    """A checkout, and commands that stand for a Debian's own."""

    def __init__(self, folder: Path, user: int) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "deploy").mkdir()
        for name in ("setup.sh", "system-packages.txt"):
            (folder / "deploy" / name).write_bytes((ROOT / "deploy" / name).read_bytes())
        self.command("id", f"echo {user}")
        # Installing writes down what was asked for, and makes it be there.
        self.command("apt-get", f'echo "$*" >>{folder}/apt.log; touch {folder}/has-ensurepip')

    def command(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def python(self, version: str) -> None:
        """A python3 of this version, whose ensurepip is there once the marker file is."""
        new_enough = 0 if version.split(".")[1] in ("11", "12", "13") else 1
        self.command(
            "python3",
            f"""case "$*" in
                *ensurepip*) test -e {self.folder}/has-ensurepip ;;
                *version_info*) exit {new_enough} ;;
                --version) echo Python {version} ;;
                *) echo "stop here" >&2; exit 99 ;;
            esac""",
        )

    def set_up(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "deploy/setup.sh", "run"],
            cwd=self.folder,
            env={"PATH": f"{self.folder}/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def asked_of_apt(self) -> list[str]:
        log = self.folder / "apt.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def test_a_user_is_told_the_one_line_to_run(tmp_path: Path) -> None:
    computer = Computer(tmp_path, user=MEMBER)
    computer.python("3.11.2")
    run = computer.set_up()
    assert run.returncode == 1
    assert "missing: python3-venv" in run.stderr
    assert "sudo apt-get install -y python3-venv\n" in run.stderr
    assert computer.asked_of_apt() == []


def test_root_gets_the_missing_package_installed(tmp_path: Path) -> None:
    computer = Computer(tmp_path, user=SUPERUSER)
    computer.python("3.11.2")
    run = computer.set_up()
    assert "installing system packages: python3-venv" in run.stdout
    assert computer.asked_of_apt() == ["update -qq", "install -y -qq --no-install-recommends python3-venv"]
    assert "still lacks" not in run.stderr


def test_nothing_is_installed_when_nothing_is_missing(tmp_path: Path) -> None:
    computer = Computer(tmp_path, user=SUPERUSER)
    computer.python("3.11.2")
    (tmp_path / "has-ensurepip").touch()
    computer.set_up()
    assert computer.asked_of_apt() == []


@pytest.mark.parametrize("version", ["3.9.2", "3.14.0"])
def test_a_python_of_another_age_is_named_with_the_remedy(tmp_path: Path, version: str) -> None:
    computer = Computer(tmp_path, user=MEMBER)
    computer.python(version)
    (tmp_path / "has-ensurepip").touch()
    run = computer.set_up()
    assert run.returncode == 1
    assert f"python3 is Python {version}; Python 3.11, 3.12 or 3.13 is needed" in run.stderr
    assert "PYTHON=python3.13" in run.stderr
