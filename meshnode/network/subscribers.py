"""Subscribers: all who listen to one thing, each through a bounded channel of its own.

Whoever tells never waits: a subscriber that is behind misses the newest, which is counted.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class Subscribers(Generic[T]):
    """The channels of one thing; one that its reader has closed is forgotten."""

    def __init__(self, counters: "Counter[str]", behind: str) -> None:
        """Args:
        behind: the reason under which `counters` counts what a subscriber misses.
        """
        self._counters = counters
        self._behind = behind
        self._channels: list[trio.MemorySendChannel[T]] = []

    def channel(self, capacity: int, first: Iterable[T] = ()) -> "trio.MemoryReceiveChannel[T]":
        """A further channel, for one reader, who closes it. What `first` holds comes first."""
        send, receive = trio.open_memory_channel[T](capacity)
        self._channels.append(send)
        for value in first:
            self._put(send, value)
        return receive

    def tell(self, value: T) -> None:
        """Put value into every channel that has room."""
        for channel in list(self._channels):
            self._put(channel, value)

    def _put(self, channel: "trio.MemorySendChannel[T]", value: T) -> None:
        try:
            channel.send_nowait(value)
        except trio.WouldBlock:
            self._counters[self._behind] += 1
        except trio.BrokenResourceError:
            self._channels.remove(channel)
