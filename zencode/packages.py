"""Packages: statements that others add to the catalogue, pinned by the name and version of what they come in.

A package has numbered rows; a row's id in a tree has the digest of the package's name and version in it, so that
no two packages, and no two versions of one, ever mean the same id. A tree also names the packages that it uses:
they are part of its hash, and a node that lacks one can say which. `enroll` makes packages known, once,
when a program starts. A text is read by the newest version of each package, a tree by the one it names.

No package is looked for here, and none is judged: see `additions`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from msgspec import Struct, field

from zencode.sentences import BY_ID, SENTENCES, Sentence

#: Ids from here on are of packages; the catalogue's own are small numbers. Below 2**53, so that JSON keeps them.
FIRST_ID = 1 << 48
#: Rows of one version of one package.
MAX_ROWS = 255
#: Bytes of the digest in an id: by chance alone two packages of a million would meet once in a million worlds.
_DIGEST_BYTES = 5
#: Nodes declare on the ledger which packages they have, and a name there has 48 bytes, some of them for saying so.
MAX_PACKAGE_NAME = 32
#: A version is a whole number that counts from 1.
MAX_VERSION = 65_535
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")

Pin = tuple[str, int]
"""The name and version of a package, or of a mechanism."""


class PackageError(ValueError):
    """A package that cannot be used, or two that contradict one another."""


class Package(Struct, frozen=True):
    """One version of a package.

    Attributes:
        name: small letters, digits and dashes.
        version: counts from 1. Whatever changes what a row means, even by one micro-unit, is a new one.
        rows: with the ids of `statement_id`.
        mechanisms: row's id -> the mechanism that clears orders where it stands.
        effect: what its rows do; whoever carries bindings out knows its form.
    """

    name: str
    version: int
    rows: tuple[Sentence, ...]
    mechanisms: Mapping[int, Pin] = field(default_factory=dict)
    effect: Any = None

    @property
    def pin(self) -> Pin:
        """Name and version."""
        return self.name, self.version


def statement_id(name: str, version: int, number: int) -> int:
    """The id of a package's row; `number` counts from 1.

    Raises:
        PackageError: a name, version or number that a package cannot have.
    """
    check_pin((name, version))
    if not 1 <= number <= MAX_ROWS:
        raise PackageError(f"package {name}: row {number}, expected 1 to {MAX_ROWS}")
    return _first_id((name, version)) + number


def number_of(id: int) -> int:
    """The number of a row in its package."""
    return id & 0xFF


def check_pin(pin: Pin) -> None:
    """Refuse a name or version that no package can have. Raises PackageError."""
    name, version = pin
    tidy = 1 <= len(name) <= MAX_PACKAGE_NAME and _NAME_CHARACTERS.issuperset(name) and name.strip("-") == name
    if not tidy:
        raise PackageError(f"package «{name}»: a name has 1 to {MAX_PACKAGE_NAME} of a to z, 0 to 9 and -")
    if not 1 <= version <= MAX_VERSION:
        raise PackageError(f"package {name}: version {version}, expected 1 to {MAX_VERSION}")


def pin_of(id: int) -> Pin | None:
    """The package of a statement's id; None if it is the catalogue's own, or of a package that is not enrolled.

    An id that a package could have and that none of those enrolled has is in no `BY_ID`.
    """
    package = _BY_FIRST_ID.get(id & ~0xFF)
    return None if package is None else package.pin


def belongs(id: int, pin: Pin) -> bool:
    """Whether an id is of a row of this package; also of one that nobody has enrolled."""
    return id & ~0xFF == _first_id(pin)


def package_of(id: int) -> Package | None:
    """The enrolled package of a statement's id."""
    return _BY_FIRST_ID.get(id & ~0xFF)


def enrolled() -> tuple[Pin, ...]:
    """Names and versions of what is enrolled, sorted."""
    return tuple(sorted(package.pin for package in _BY_FIRST_ID.values()))


def known() -> list[Package]:
    """What is enrolled, in the order in which it was."""
    return list(_BY_FIRST_ID.values())


def catalogue() -> tuple[Sentence, ...]:
    """The sentences that a text is read by: the catalogue's own, and of each package the newest version's."""
    return (*SENTENCES, *newest(_BY_FIRST_ID.values()))


def newest(packages: Iterable[Package]) -> list[Sentence]:
    """The rows of the newest version of each package, by name."""
    found = {package.name: package for package in sorted(packages, key=lambda package: package.pin)}
    return [row for package in found.values() for row in package.rows]


def replace(packages: Iterable[Package]) -> None:
    """Let these be the enrolled ones; `additions.enroll` checks them before."""
    for id in [known for known in BY_ID if known >= FIRST_ID]:
        del BY_ID[id]
    _BY_FIRST_ID.clear()
    for package in packages:
        _BY_FIRST_ID[_first_id(package.pin)] = package
        BY_ID.update({row.id: row for row in package.rows})


def _first_id(pin: Pin) -> int:
    digest = sha256(f"{pin[0]} {pin[1]}".encode()).digest()[:_DIGEST_BYTES]
    return FIRST_ID + (int.from_bytes(digest, "big") << 8)


_BY_FIRST_ID: dict[int, Package] = {}
