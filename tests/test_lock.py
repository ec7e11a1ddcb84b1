"""Locks: what a node installs is hashed, complete, no more than it needs, and free to use.

The reasons for every departure from what our dependencies ask for stand in
pyproject.toml, [tool.meshnode.lock]; these tests hold each of them true.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.lock import environments
from tests.source import ROOT

RUNTIME = "requirements.lock"
LOCKS = (RUNTIME, "requirements-build.lock", "requirements-test.lock")

PIN = re.compile(r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==(?P<version>[0-9][0-9a-z.!+]*)(?P<marker> ; [^;\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?P<more> \\)?")

# Licences under which a whole household's software may be passed on, as their texts name themselves.
FREE = re.compile(
    r"\b(MIT|MIT-0|BSD|Apache|ISC|PSF|Python Software Foundation|CC0|Unlicense|CNRI|Mozilla|MPL)\b",
    re.IGNORECASE,
)
# The GPL family would bind the whole program; the LGPL does not, when its library is only imported.
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
LESSER = {"zeroconf": "LGPL-2.1-or-later"}


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def settings() -> dict[str, Any]:
    table: dict[str, Any] = project()["tool"]["meshnode"]["lock"]
    return table


@cache
def pins(lock: str) -> dict[str, str]:
    """Package -> version of a lock."""
    found = filter(None, map(PIN.fullmatch, (ROOT / lock).read_text(encoding="utf-8").splitlines()))
    return {pin["name"]: pin["version"] for pin in found}


@cache
def story() -> dict[str, Any]:
    """What two connected hosts received and imported, in a process of their own."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.two_hosts"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def imported_packages() -> set[str]:
    """The distributions that the story's imports came from.

    What Python imports before a program begins is not the program's: the venv's
    own setuptools, for one, has a .pth file.
    """
    start = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    names = set(story()["imported"]) - {name.partition(".")[0] for name in start.stdout.split()}
    owners = importlib.metadata.packages_distributions()
    return {canonicalize_name(owner) for name in names for owner in owners.get(name, ())}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_pins_and_hashes_and_nothing_else(lock: str) -> None:
    """No index address, no path, no option, no tool's header; at least one hash for every pin."""
    hashes_follow = False
    for number, line in enumerate((ROOT / lock).read_text(encoding="utf-8").splitlines(), 1):
        wanted = HASH if hashes_follow else PIN
        match = wanted.fullmatch(line)
        assert match, f"{lock}:{number}: {line!r} is not a {'hash' if hashes_follow else 'pin'}"
        hashes_follow = match.re is PIN or match["more"] is not None
    assert not hashes_follow, f"{lock} ends before the hashes of its last pin"
    assert pins(lock)


def test_no_package_is_in_two_locks() -> None:
    names = [name for lock in LOCKS for name in pins(lock)]
    assert sorted(names) == sorted(set(names))


def test_the_lock_holds_all_that_is_needed_and_nothing_else() -> None:
    """Follow the requirements from pyproject.toml; named exceptions end a path."""
    assert needed(project()["project"]["dependencies"], settings()["never-imported"]) == set(pins(RUNTIME))


def test_build_and_test_locks_hold_what_their_extras_need() -> None:
    extras = project()["project"]["optional-dependencies"]
    everything = {name for lock in LOCKS for name in pins(lock)}
    assert needed(extras["build"], {}) | needed(extras["test"], {}) <= everything
    unneeded = everything - set(pins(RUNTIME)) - needed(extras["build"], {}) - needed(extras["test"], {})
    assert unneeded == set()


def needed(requirements: list[str], exceptions: dict[str, str]) -> set[str]:
    """The names that requirements reach through the installed packages' own requirements.

    A requirement counts when its marker holds for any supported machine and Python;
    the version installed must be one that it asks for, but for the overrides.
    """
    overridden = {canonicalize_name(Requirement(line).name) for line in settings()["overrides"]}
    reached: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in exceptions or not holds_somewhere(requirement):
            continue
        version = importlib.metadata.version(name)
        assert name in overridden or requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} is wanted, {version} is installed"
        )
        if name not in reached:
            reached.add(name)
            waiting += [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    return reached


def holds_somewhere(requirement: Requirement) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({**machine, "extra": ""}) for machine in environments())


def test_two_hosts_connect_with_the_locked_packages() -> None:
    """Also with fastecdsa 4.0.0, where libp2p asks for 2.3.2."""
    assert story()["echoed"] == "hello"
    assert story()["heard"] == "500 Wh"


def test_what_runs_is_locked() -> None:
    outside = imported_packages() - set(pins(RUNTIME)) - {"meshnode"}
    assert outside == set()


@pytest.mark.parametrize("package", settings()["never-imported"])
def test_what_is_left_out_is_never_imported(package: str) -> None:
    assert package not in imported_packages()
    assert package not in pins(RUNTIME)


@pytest.mark.parametrize("override", settings()["overrides"])
def test_an_override_is_in_the_lock(override: str) -> None:
    requirement = Requirement(override)
    assert requirement.specifier.contains(pins(RUNTIME)[requirement.name])


@pytest.mark.parametrize("lock", LOCKS)
def test_the_installed_versions_are_the_locked_ones(lock: str) -> None:
    installed = {name: importlib.metadata.version(name) for name in pins(lock)}
    assert installed == pins(lock)


def test_every_licence_lets_the_project_be_passed_on() -> None:
    """Prints the table of licences (pytest -rP shows it)."""
    table = {name: licence(name) for name in pins(RUNTIME)}
    print("\n".join(f"{name:24} {text}" for name, text in sorted(table.items())))
    assert {name: text for name, text in table.items() if COPYLEFT.search(text)} == {}
    assert {name: text for name, text in table.items() if not FREE.search(text)} == LESSER


@pytest.mark.parametrize(
    ("text", "binds"),
    [
        ("GPL-3.0-only", True),
        ("AGPL-3.0-or-later", True),
        ("MIT AND GPL-2.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("GNU Lesser General Public License v2", False),
        ("LGPL-2.1-or-later", False),
        ("MIT", False),
    ],
)
def test_copyleft_is_told_from_the_lesser_one(text: str, binds: bool) -> None:
    assert bool(COPYLEFT.search(text)) is binds


def licence(name: str) -> str:
    """What a package's metadata says of its licence: the expression, or else classifiers and free text."""
    metadata = importlib.metadata.metadata(name)
    expression = metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [line for line in metadata.get_all("Classifier", ()) if line.startswith("License ::")]
    short_text = (metadata.get("License") or "").partition("\n")[0]
    return ", ".join([*(line.rpartition(" :: ")[2] for line in classifiers), *filter(None, [short_text])])
