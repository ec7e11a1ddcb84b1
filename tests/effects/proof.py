"""Proof: a short story that shows what one sentence of the catalogue brings about.

A proof runs the same small ledger, node or page under a binding with and without its sentence, or with another
value of it, and asserts the difference that somebody can observe: a verdict, a posting, a balance, what a page shows.
Modules named `proofs_*` hold them, each in a table `PROOFS` by the id of the sentence.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Awaitable, Callable

import tests.effects

Proof = Callable[[], Awaitable[None] | None]
"""Raises AssertionError if the sentence does not do what it means; one that needs tasks is a coroutine function."""


def proofs() -> list[tuple[int, Proof]]:
    """All proofs with the ids that they are of."""
    names = sorted(one.name for one in pkgutil.iter_modules(tests.effects.__path__) if one.name.startswith("proofs_"))
    tables: list[dict[int, Proof]] = [importlib.import_module(f"tests.effects.{name}").PROOFS for name in names]
    return [entry for table in tables for entry in sorted(table.items())]
