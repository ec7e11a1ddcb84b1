"""Codecs: meter protocols, from bytes to telegrams. Pure: no I/O, no clock, no trio.

A codec is added by one line in `CODECS`; the driver that listens on a serial
port, the tools that decode a capture and the tests find it there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from drivers.codecs.dsmr import DsmrCodec
from drivers.codecs.sml import SmlCodec
from drivers.codecs.telegram import Codec

CODECS: Final[Mapping[str, Callable[[], Codec]]] = {
    "dsmr": DsmrCodec,
    "sml": SmlCodec,
}


def codec(name: str) -> Codec:
    """A fresh codec of that name; KeyError if there is none."""
    return CODECS[name]()
