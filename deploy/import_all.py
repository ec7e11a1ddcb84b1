"""Import check: every module of an installed meshnode imports, with the packages it was installed with.

    python -P deploy/import_all.py

Meant for a clean environment that holds the wheel: a module forgotten by the
wheel, or a package forgotten by the lock, fails here. Also loads the command
line's entry point.
"""

import importlib
import importlib.metadata
import pkgutil
import sys
import sysconfig
from pathlib import Path

PACKAGES = ("meshnode", "protocols", "drivers", "zencode")
# What needs the extra `editor`, which a node is installed without; its own tests import it.
IN_EXTRAS = ("meshnode.language_server",)


def main() -> int:
    """Import everything and print how much that was; 1 when it is not the installed copy."""
    installed = Path(sysconfig.get_path("purelib"))
    modules = [name for package in PACKAGES for name in import_all(package)]
    strays = [name for name in modules if not Path(sys.modules[name].__file__ or "").is_relative_to(installed)]
    if strays:
        print(f"imported from elsewhere than {installed}: {', '.join(strays)}", file=sys.stderr)
        return 1
    for command in importlib.metadata.entry_points(group="console_scripts", name="meshnode"):
        command.load()
    print(f"imported {len(modules)} modules of {', '.join(PACKAGES)} {importlib.metadata.version('meshnode')}")
    return 0


def import_all(package: str) -> list[str]:
    """Import a package and every module in it but its programs (`__main__`) and extras; returns their names."""
    root = importlib.import_module(package)
    inside = (found.name for found in pkgutil.walk_packages(root.__path__, f"{package}."))
    names = [package, *(name for name in inside if not name.endswith(".__main__") and name not in IN_EXTRAS)]
    for name in names:
        importlib.import_module(name)
    return names


if __name__ == "__main__":
    sys.exit(main())
