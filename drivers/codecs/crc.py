"""Checksums: the 16-bit CRCs of meter telegrams.

All three are reflected (least significant bit first) and differ in polynomial,
start value and final inversion; the names are those of the catalogue of
parametrised CRC algorithms (reveng.sourceforge.io/crc-catalogue/16.htm).
"""

from __future__ import annotations

from typing import Final


def crc16_arc(data: bytes | bytearray | memoryview) -> int:
    """CRC-16/ARC of `data`, as DSMR P1 prints it in hexadecimal after "!".

    Source: DSMR P1 companion standard 5.0.2, transfer syntax (x16 + x15 + x2 + 1, start 0).
    """
    return _crc(data, _ARC_TABLE, 0)


def crc16_x25(data: bytes | bytearray | memoryview) -> int:
    """CRC-16/X.25 of `data`, as SML sends it, low byte first in the transmitted order.

    Source: SML 1.04, transport protocol; the frame check sequence of ISO/IEC 13239.
    """
    return _crc(data, _CCITT_TABLE, 0xFFFF) ^ 0xFFFF


def crc16_kermit(data: bytes | bytearray | memoryview) -> int:
    """CRC-16/Kermit of `data`: what the Holley DTZ541 sends where SML asks for X.25."""
    return _crc(data, _CCITT_TABLE, 0)


def _table(reflected_polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ reflected_polynomial if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


def _crc(data: bytes | bytearray | memoryview, table: tuple[int, ...], start: int) -> int:
    value = start
    for byte in data:
        value = (value >> 8) ^ table[(value ^ byte) & 0xFF]
    return value


_ARC_TABLE: Final = _table(0xA001)
_CCITT_TABLE: Final = _table(0x8408)
