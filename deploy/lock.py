"""Locks: the three hashed requirement files, made again from pyproject.toml.

    python deploy/lock.py            write requirements*.lock again, keeping the
                                     versions that still fit (needs uv)
    python deploy/lock.py --upgrade  the same with the newest versions that fit
    python deploy/lock.py --wheels   check that every locked package has a wheel
                                     for each supported machine and Python

`requirements.lock` is what a node runs, `requirements-build.lock` what builds
it, `requirements-test.lock` what the tests need on top. The table
[tool.meshnode.lock] in pyproject.toml says where the locks depart from what
our dependencies ask for. Nothing here installs anything.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parent.parent

# The machines and Pythons that the locks serve: Debian 12 (3.11) to the newest released Python.
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINES = ("x86_64", "aarch64")

# Wheels for glibc up to 2.36, that of Debian 12. pip takes no tag but those it is given.
GLIBC_TAGS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in range(17, 37)))

Lock = dict[str, list[str]]  # package name -> its lines: the pin first, then the hashes


def main() -> int:
    """Write the locks again, or check the wheels; 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    parser.add_argument("--wheels", action="store_true", help="only check the wheels of the present locks")
    arguments = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    settings = project["tool"]["meshnode"]["lock"]
    if arguments.wheels:
        return check_wheels(settings["built-from-source"], settings["no-wheel"])
    make_locks(project["project"], settings, upgrade=arguments.upgrade)
    return 0


def make_locks(project: dict[str, Any], settings: dict[str, Any], upgrade: bool) -> None:
    """Resolve and write the three locks; each leaves out what an earlier one pins."""
    never_imported = "\n".join(settings["never-imported"])
    overrides = "\n".join(settings["overrides"])
    extras = project["optional-dependencies"]
    pinned: Lock = {}
    for name, requirements, excludes in (
        ("requirements.lock", project["dependencies"], never_imported),
        ("requirements-build.lock", extras["build"], ""),
        ("requirements-test.lock", extras["test"], ""),
    ):
        target = ROOT / name
        before = target.read_text(encoding="utf-8") if target.exists() and not upgrade else ""
        resolved = resolve(requirements, constraints=pinned, overrides=overrides, excludes=excludes, before=before)
        lock = {package: lines for package, lines in resolved.items() if package not in pinned}
        target.write_text("".join(line for lines in lock.values() for line in lines), encoding="utf-8")
        pinned |= lock
        print(f"{name}: {len(lock)} packages")


def resolve(requirements: list[str], constraints: Lock, overrides: str, excludes: str, before: str) -> Lock:
    """Resolve requirements for every supported machine and Python.

    uv runs without its configuration files and writes no header, annotation or
    index address, so that the result depends on the registry's contents alone.
    """
    pins = "\n".join(lines[0].split(" ;")[0].rstrip(" \\\n") for lines in constraints.values())
    with tempfile.TemporaryDirectory() as folder:
        files = {
            "in": "\n".join(requirements),
            "pins": pins,
            "over": overrides,
            "without": excludes,
            "out": before,
        }
        paths = {key: Path(folder, f"{key}.txt") for key in files}
        for key, text in files.items():
            paths[key].write_text(text + "\n" if text else "", encoding="utf-8")
        subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-config", "--universal"),
                *("--python-version", PYTHONS[0], "--generate-hashes"),
                *("--no-emit-index-url", "--no-header", "--no-annotate"),
                *(
                    "--constraints",
                    paths["pins"],
                    "--overrides",
                    paths["over"],
                    "--excludes",
                    paths["without"],
                ),
                *("--output-file", paths["out"], paths["in"]),
            ],
            check=True,
        )
        return supported_only(parse(paths["out"].read_text(encoding="utf-8")))


def parse(text: str) -> Lock:
    """Cut a lock into its packages; a line that is not indented begins one."""
    lock: Lock = {}
    for line in text.splitlines(keepends=True):
        if not line.startswith(" "):
            lines = lock.setdefault(line.partition("==")[0], [])
        lines.append(line)
    return lock


def supported_only(lock: Lock) -> Lock:
    """Drop packages of other systems, and the markers that hold everywhere here."""
    kept: Lock = {}
    for package, (pin, *hashes) in lock.items():
        requirement, has_marker, condition = pin.removesuffix(" \\\n").partition(" ; ")
        if has_marker:
            verdicts = {Marker(condition).evaluate(dict(environment)) for environment in environments()}
            if verdicts == {False}:
                continue
            pin = pin if False in verdicts else f"{requirement} \\\n"
        kept[package] = [pin, *hashes]
    return kept


def environments() -> list[dict[str, str]]:
    """The marker values of every supported machine and Python."""
    return [
        {
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "os_name": "posix",
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{python}.0",
            "python_version": python,
            "sys_platform": "linux",
        }
        for python, machine in itertools.product(PYTHONS, MACHINES)
    ]


def check_wheels(built_from_source: list[str], no_wheel: dict[str, list[str]]) -> int:
    """Download each locked wheel for each machine and Python; 1 if any is missing.

    Packages that are known to have none (for that Python) are not asked for, but named.
    """
    locks = ("requirements.lock", "requirements-build.lock", "requirements-test.lock")
    packages = {package: lines for name in locks for package, lines in parse((ROOT / name).read_text()).items()}
    failures = 0
    for python, machine in itertools.product(PYTHONS, MACHINES):
        left_out = {*built_from_source, *no_wheel.get(python, [])}
        wanted = "".join("".join(lines) for package, lines in packages.items() if package not in left_out)
        with tempfile.TemporaryDirectory() as folder:
            requirements = Path(folder, "wanted.txt")
            requirements.write_text(wanted, encoding="utf-8")
            tags = [option for tag in GLIBC_TAGS for option in ("--platform", f"{tag}_{machine}")]
            run = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--require-hashes"),
                    *("--only-binary=:all:", "--implementation", "cp", "--python-version", python),
                    *(*tags, "--dest", folder, "-r", requirements),
                ],
                capture_output=True,
                text=True,
            )
            wheels = len(list(Path(folder).glob("*.whl")))
        print(f"Python {python} {machine}: {wheels} wheels; not asked for: {', '.join(sorted(left_out))}")
        print(run.stderr.strip() if run.returncode else "", end="")
        failures += run.returncode != 0
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
