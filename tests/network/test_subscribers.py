"""Subscribers: nobody waits for one that is behind, and what it misses is counted."""

from collections import Counter

import pytest
import trio

from meshnode.network.subscribers import Subscribers


def test_one_that_is_behind_misses_the_newest_and_the_others_nothing() -> None:
    counters: Counter[str] = Counter()
    subscribers = Subscribers[int](counters, "behind")
    slow, quick = subscribers.channel(2), subscribers.channel(10)
    for number in range(5):
        subscribers.tell(number)
    assert [slow.receive_nowait() for _ in range(2)] == [0, 1]
    assert [quick.receive_nowait() for _ in range(5)] == [0, 1, 2, 3, 4]
    assert counters == {"behind": 3}
    subscribers.tell(5)
    assert slow.receive_nowait() == quick.receive_nowait() == 5, "it goes on where it can"


def test_what_is_so_already_comes_first() -> None:
    subscribers = Subscribers[str](Counter(), "behind")
    channel = subscribers.channel(5, ["anna", "bela"])
    subscribers.tell("dora")
    assert [channel.receive_nowait() for _ in range(3)] == ["anna", "bela", "dora"]


def test_a_closed_channel_is_forgotten_and_nothing_is_counted() -> None:
    counters: Counter[str] = Counter()
    subscribers = Subscribers[int](counters, "behind")
    gone, here = subscribers.channel(1), subscribers.channel(1)
    gone.close()
    subscribers.tell(1)
    assert here.receive_nowait() == 1
    with pytest.raises(trio.WouldBlock):
        here.receive_nowait()
    assert not counters
