"""Amounts: whole numbers of energy and money, their product, their division, their spelling.

Energy is counted in Wh, money in micro-units of the currency (u), prices in
micro-units per kWh, shares in parts per million. There is no float here and no
rounding that is not written down: `value` rounds once, `split` loses nothing.
No accounts and no orders here; those build on this module.
"""

from collections.abc import Iterable
from typing import Final

MICRO: Final = 1_000_000
"""Micro-units in one unit of currency."""
PPM: Final = 1_000_000
"""The whole, in parts per million."""
WH_PER_KWH: Final = 1_000

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
"""Records and columns hold 64-bit integers; what does not fit is refused, never wrapped."""

ENERGY_MAX_WH: Final = 10**9
"""The most energy in one order or one reading of one period: 1 GWh in a quarter of an hour is 4 GW,
a large power station, so anything beyond is a mistake. With `PRICE_MAX_U_KWH` one value is at most
10**15 u and 9,000 of them still add up inside 64 bits."""
PRICE_MAX_U_KWH: Final = 10**9
"""The highest price, and the lowest below zero: 1,000 units of currency for one kWh."""

MONEY_DECIMALS: Final = 6
MONEY_DECIMALS_SHOWN: Final = 2
"""Money is written with cents even when they are zero, because that is how people read it."""
TEXT_MAX: Final = 64
"""Characters in a written amount. The longest amount needs 30; longer text is not an amount."""

_ENERGY_UNITS: Final = {"wh": (0, "Wh"), "kwh": (3, "kWh"), "mwh": (6, "MWh")}


class Overflow(ArithmeticError):
    """A result left the 64-bit range: while a record is applied a verdict on the record, not a crash."""

    def __init__(self, what: str, found: int) -> None:
        super().__init__(f"{what} {found} does not fit into 64 bits: expected {INT64_MIN} to {INT64_MAX}")
        self.what = what
        self.found = found


class AmountError(ValueError):
    """An amount that means nothing: the message names what was found, what was expected and what to do."""


def int64(what: str, number: int) -> int:
    """Return `number` unchanged, or raise `Overflow` naming `what` when it needs more than 64 bits."""
    if not INT64_MIN <= number <= INT64_MAX:
        raise Overflow(what, number)
    return number


def value(price_u_kwh: int, energy_wh: int) -> int:
    """What `energy_wh` costs at `price_u_kwh`, in micro-units, rounded down (towards minus infinity).

    Exact for every price that is a multiple of 1000 u/kWh. A posting computes it
    once and writes the same integer on both legs.

    Raises:
        AmountError: negative energy; direction is told by who pays whom, never by a sign.
        Overflow: the result needs more than 64 bits.
    """
    if energy_wh < 0:
        raise AmountError(f"energy of {energy_wh} Wh: expected 0 or more; swap the two sides instead")
    return int64("value", price_u_kwh * energy_wh // WH_PER_KWH)


def split(total: int, weights: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
    """Divide `total` in proportion to weights; the parts always add up to the whole.

    Every part is first rounded towards zero; the units left over go one by one to
    the largest remainders, ties to the smaller id in byte order. A negative
    total is divided like its positive twin with the signs turned. No part is larger
    than its weight when the total is not larger than the sum of weights.

    Args:
        total: what is divided, any unit.
        weights: (id, weight) in any order; ids differ, weights are 0 or more.
            A weight of 0 gets 0.
    Returns:
        Part by id, in the byte order of the ids. All parts are 0 for a total of 0,
        even when every weight is 0 or there are none.
    Raises:
        AmountError: an id twice, a negative weight, or a total other than 0 over
            weights that are all 0 (nobody to give it to).
        Overflow: the total or the sum of weights needs more than 64 bits.
    Source: largest remainder (Hamilton) method.
    """
    entries = sorted(weights)
    whole = 0
    previous: bytes | None = None
    for key, weight in entries:
        if key == previous:
            raise AmountError(f"share of {key.hex()} given twice: expected one weight for each id; add them up first")
        if weight < 0:
            raise AmountError(f"share of {key.hex()} is {weight}: expected a weight of 0 or more")
        previous = key
        whole += weight
    int64("sum of weights", whole)
    size = abs(int64("total to split", total))
    if size == 0:
        return {key: 0 for key, _ in entries}
    if whole == 0:
        raise AmountError(f"{total} to split over weights that are all 0: expected one weight above 0")
    parts: dict[bytes, int] = {}
    remainders: list[tuple[int, bytes]] = []
    left = size
    for key, weight in entries:
        part, remainder = divmod(size * weight, whole)
        parts[key] = part
        left -= part
        remainders.append((-remainder, key))
    # A unit is left over only where remainders are, so an id with weight 0 never gets one.
    for _, key in sorted(remainders)[:left]:
        parts[key] += 1
    return parts if total > 0 else {key: -part for key, part in parts.items()}


def format_money(amount_u: int, currency: str) -> str:
    """Write micro-units exactly: `0.15 EUR`, `-3.00 EUR`, `0.000001 EUR`; at least cents, no grouping."""
    return f"{_decimal(amount_u, MONEY_DECIMALS, MONEY_DECIMALS_SHOWN)} {currency}"


def format_price(price_u_kwh: int, currency: str) -> str:
    """Write a price exactly: `0.32 EUR/kWh`."""
    return f"{format_money(price_u_kwh, currency)}/kWh"


def format_count(number: int, noun: str) -> str:
    """Write how many there are of something: `1 validator`, `3 validators`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_energy(energy_wh: int) -> str:
    """Write energy exactly: `500 Wh` below one kWh, `1.5 kWh` from there on."""
    if abs(energy_wh) < WH_PER_KWH:
        return f"{energy_wh} Wh"
    return f"{_decimal(energy_wh, 3, 0)} kWh"


def parse_price(text: str, currency: str) -> int:
    """Read `0.32 EUR/kWh` as micro-units per kWh (320000). At most six decimals, no rounding.

    Raises:
        AmountError: not a number with the unit `currency`/kWh, or beyond `PRICE_MAX_U_KWH`.
    """
    example = f"write it like 0.32 {currency}/kWh"
    number, unit = _number_and_unit(text, "price", example)
    if unit.lower() != f"{currency}/kWh".lower():
        raise AmountError(f"{_shown(text)}: the price has {_named(unit)}, expected {currency}/kWh; {example}")
    price_u_kwh = _scaled(text, number, MONEY_DECIMALS, f"a price has at most {MONEY_DECIMALS} decimals", example)
    if abs(price_u_kwh) > PRICE_MAX_U_KWH:
        limit = format_price(PRICE_MAX_U_KWH, currency)
        raise AmountError(f"{_shown(text)}: beyond the highest price of {limit}; check the decimal point")
    return price_u_kwh


def parse_money(text: str, currency: str) -> int:
    """Read `12.30 EUR` as micro-units (12300000). At most six decimals, no rounding.

    Raises:
        AmountError: not a number with the unit `currency`, or more than 64 bits hold.
    """
    example = f"write it like 12.30 {currency}"
    number, unit = _number_and_unit(text, "amount", example)
    if unit.lower() != currency.lower():
        raise AmountError(f"{_shown(text)}: the amount has {_named(unit)}, expected {currency}; {example}")
    amount_u = _scaled(text, number, MONEY_DECIMALS, f"money has at most {MONEY_DECIMALS} decimals", example)
    if not INT64_MIN <= amount_u <= INT64_MAX:
        raise AmountError(f"{_shown(text)}: beyond what the ledger can hold; check the decimal point")
    return amount_u


def parse_energy(text: str) -> int:
    """Read `1.5 kWh`, `500 Wh` or `0.002 MWh` as Wh, exactly.

    Raises:
        AmountError: not a number with one of these units, below zero, finer than
            1 Wh, or beyond `ENERGY_MAX_WH`.
    """
    example = "write it like 1.5 kWh or 500 Wh"
    number, unit = _number_and_unit(text, "energy", example)
    if unit.lower() not in _ENERGY_UNITS:
        raise AmountError(f"{_shown(text)}: the energy has {_named(unit)}, expected Wh, kWh or MWh; {example}")
    places, name = _ENERGY_UNITS[unit.lower()]
    limit = f"energy has {f'at most {places}' if places else 'no'} decimals in {name}"
    energy_wh = _scaled(text, number, places, limit, example)
    if energy_wh < 0:
        raise AmountError(f"{_shown(text)}: energy is 0 or more; buy and sell tell the direction")
    if energy_wh > ENERGY_MAX_WH:
        raise AmountError(
            f"{_shown(text)}: beyond the most of {format_energy(ENERGY_MAX_WH)} in one period; check the unit"
        )
    return energy_wh


def _decimal(number: int, places: int, shown: int) -> str:
    """Write number / 10**places exactly, with at least `shown` decimals."""
    whole, fraction = divmod(abs(number), 10**places)
    digits = f"{fraction:0{places}d}".rstrip("0").ljust(shown, "0")
    sign = "-" if number < 0 else ""
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def _number_and_unit(text: str, what: str, example: str) -> tuple[str, str]:
    """Cut text where the number ends."""
    if len(text) > TEXT_MAX:
        raise AmountError(f"{what} of {len(text)} characters, the limit is {TEXT_MAX}; {example}")
    stripped = text.strip()
    unit = stripped.lstrip("+-0123456789.,")
    number = stripped[: len(stripped) - len(unit)]
    if not number:
        raise AmountError(f"{_shown(text)}: no number found, expected one with its unit; {example}")
    return number, unit.strip()


def _scaled(text: str, number: str, places: int, limit: str, example: str) -> int:
    """Read a decimal number as an integer of its smallest unit."""
    if "," in number:
        # 1,500 is one and a half to some readers and fifteen hundred to others.
        raise AmountError(f"{_shown(text)}: a comma may mean two things here, expected a decimal point; {example}")
    sign = -1 if number.startswith("-") else 1
    whole, point, fraction = number.removeprefix("-" if sign < 0 else "+").partition(".")
    if not whole.isdigit() or (point and not fraction.isdigit()):
        raise AmountError(f"{_shown(text)}: {number} is not a decimal number; {example}")
    if len(fraction) > places:
        raise AmountError(f"{_shown(text)}: {limit}, found {len(fraction)}; {example}")
    return sign * int(whole + fraction.ljust(places, "0"))


def _shown(text: str) -> str:
    return f"«{text.strip()}»"


def _named(unit: str) -> str:
    return f"the unit {unit}" if unit else "no unit"
