"""Wires: how chaos nodes reach one another, so that any direction of any pair can be cut.

Two kinds: with `Namespaces` every node has a network stack, an address and a cable of its own, and what is
cut is lost without a word, as on a real network. Where they are not permitted, `Proxies` carry each
direction of each pair through this process, and what is cut is held back until it is healed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

Pair = tuple[int, int]
"""(from, to), numbers of nodes from 0 on."""


class Wires(ABC):
    """What both kinds promise.

    Attributes:
        kind: what it is, for the report.
    """

    kind: str

    def __init__(self, count: int) -> None:
        self.count = count
        self._cut: set[Pair] = set()

    @abstractmethod
    def listen(self, node: int) -> str:
        """The multiaddress at which a node listens for its peers."""

    @abstractmethod
    def route(self, node: int, other: int) -> str:
        """The multiaddress at which `node` finds `other`."""

    @abstractmethod
    def page(self, node: int) -> tuple[str, str]:
        """Where a node serves its page ("127.0.0.1:8170"), and the base URL at which this process reaches it."""

    @abstractmethod
    async def run(self) -> None:
        """Carry what has to be carried, until cancelled."""

    @contextmanager
    def inside(self, node: int) -> Iterator[None]:
        """Processes that are started within are on that node's side of the wires."""
        yield

    def cut(self, pairs: Iterable[Pair]) -> None:
        """Cut exactly these directions, and heal all others."""
        wanted = {(one, other) for one, other in pairs if one != other}
        for pair in self._cut - wanted:
            self._set(pair, cut=False)
        for pair in wanted - self._cut:
            self._set(pair, cut=True)
        self._cut = wanted

    @abstractmethod
    def _set(self, pair: Pair, *, cut: bool) -> None: ...
