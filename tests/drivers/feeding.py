"""Feeding: the same bytes given to a codec whole, byte by byte, in random pieces, among junk."""

from __future__ import annotations

import random
from collections.abc import Iterator

from drivers.codecs import codec
from drivers.codecs.telegram import Telegram


def read(name: str, pieces: list[bytes]) -> list[Telegram]:
    reader = codec(name)
    return [telegram for piece in pieces for telegram in reader.feed(piece)]


def ways_to_cut(data: bytes, seed: int, tries: int = 5) -> Iterator[list[bytes]]:
    """Whole, byte by byte, and cut at random places."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    chance = random.Random(seed)
    for _ in range(tries):
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 12)))
        yield [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def junk(data: bytes, seed: int) -> list[bytes]:
    """Noise, and things that look like a beginning or an end of a telegram."""
    chance = random.Random(seed)
    return [
        chance.randbytes(300),
        data[: len(data) // 2],
        b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01\x76\x05",
        b"\x1b\x1b\x1b\x1b\x01\x01\x01\x01\x1b\x1b\x1b\x1b",
        b"\x1b" * 11,
        b"\x1b\x1b\x1b\x1b\x1a\x00\x12\x34",
        b"/ABC5noise\r\n\r\n1-0:1.8.0(0000",
        b"/AAA/BBB/!!\r\n/",
        b"1.000*kWh)\r\n!1234\r\n",
        bytes(range(256)) * 3,
    ]
