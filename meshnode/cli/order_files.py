"""Order files: a table of orders that a mechanism is tried with, read from CSV, all mistakes at once."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final, NamedTuple

from meshnode.amounts import ENERGY_MAX_WH, TEXT_MAX, AmountError, parse_price
from meshnode.cli.output import Fault
from meshnode.market import Side, StandingOrder, TimeInForce
from meshnode.market.order import ORDERS_MAX

NEEDED: Final = ("side", "member", "price_per_kwh", "wh")
OPTIONAL: Final = ("time_in_force", "backed")

# More than this and the first ones are lost from the screen.
MISTAKES_SHOWN: Final = 50
EXAMPLE: Final = "side,member,price_per_kwh,wh,time_in_force,backed\nbuy,anna,0.24,500,gtc,yes"

_SIDES: Final = {"buy": Side.BUY, "sell": Side.SELL}
_FORCES: Final = {force.name.lower(): force for force in TimeInForce}


class Line(NamedTuple):
    """One order of a file: where it stands, whose it is, the order, and how long it is good."""

    number: int
    member: str
    order: StandingOrder
    time_in_force: TimeInForce


def read_orders(file: str, data: bytes, currency: str) -> list[Line]:
    """The orders of a file, booked from the top down.

    The first line names the columns, in any order; cells are parted by commas, or by semicolons. Empty lines
    are passed over. An order's id is the number of its line; accounts are numbered as they first occur.

    Raises:
        Fault: all that is wrong with the file, one line for each mistake.
    """
    rows = _rows(file, data)
    columns = _columns(file, rows)
    accounts: dict[str, bytes] = {}
    found: list[Line] = []
    mistakes: list[str] = []
    for number, cells in rows[1:]:
        if len(cells) != len(columns):
            mistakes.append(f"{file}:{number}: found {len(cells)} cells, expected {len(columns)}, one for each column")
            continue
        said = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
        wrong = [f"{file}:{number}: {mistake}" for mistake in _mistakes(said, currency)]
        mistakes += wrong
        if not wrong:
            account = accounts.setdefault(said["member"], len(accounts).to_bytes(16, "big"))
            found.append(_line(number, said, account, currency))
    if len(rows) - 1 > ORDERS_MAX:
        mistakes.insert(0, f"{file}: {len(rows) - 1} orders, the limit is {ORDERS_MAX}; one clearing takes no more")
    if mistakes:
        more = len(mistakes) - MISTAKES_SHOWN
        raise Fault("\n".join([*mistakes[:MISTAKES_SHOWN], *([f"and {more} more mistakes"] if more > 0 else [])]))
    return found


def _rows(file: str, data: bytes) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Fault(f"{file}:{line}: byte {data[error.start]:#04x} is not UTF-8; save the table as UTF-8") from error
    lines = text.splitlines()
    head = next((line for line in lines if line.strip()), "")
    reader = csv.reader(lines, delimiter=";" if ";" in head else ",", strict=True)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise Fault(f"{file}:{reader.line_num}: {error}\n    write cells without quotes") from error
    if not rows:
        raise Fault(f"{file}: no line, expected one with the columns' names and one for each order, like\n{EXAMPLE}")
    return rows


def _columns(file: str, rows: list[tuple[int, list[str]]]) -> list[str]:
    number, cells = rows[0]
    columns = [cell.strip().lower() for cell in cells]
    wrong = [f"no column {name}" for name in NEEDED if name not in columns]
    wrong += [f"an unknown column {name!r}" for name in columns if name not in (*NEEDED, *OPTIONAL)]
    wrong += [f"two columns {name}" for name in sorted(set(columns)) if columns.count(name) > 1]
    if wrong:
        raise Fault(
            f"{file}:{number}: {'; '.join(wrong)}\n    expected the columns {', '.join(NEEDED)}, "
            f"and, if you like, {' and '.join(OPTIONAL)}; for example\n{EXAMPLE}"
        )
    return columns


def _mistakes(said: dict[str, str], currency: str) -> Iterator[str]:
    """What is wrong with one line; each cell has one mistake at most."""
    if said["side"].lower() not in _SIDES:
        yield f"side: found {said['side']!r}, expected buy or sell"
    if not 1 <= len(said["member"]) <= TEXT_MAX:
        yield f"member: found a name of {len(said['member'])} characters, expected 1 to {TEXT_MAX}"
    try:
        _price(said, currency)
    except AmountError as error:
        yield f"price_per_kwh: {error}"
    energy_wh = _whole(said["wh"])
    if energy_wh is None or not 1 <= energy_wh <= ENERGY_MAX_WH:
        yield f"wh: found {said['wh']!r}, expected a whole number from 1 to {ENERGY_MAX_WH}"
        energy_wh = None
    if said.get("time_in_force", "").lower() not in ("", *_FORCES):
        yield f"time_in_force: found {said['time_in_force']!r}, expected {', '.join(_FORCES)}, or nothing for gtc"
    backed = said.get("backed", "").lower()
    if backed not in ("", "yes", "no"):
        ready_wh = _whole(backed)
        if ready_wh is None or (energy_wh is not None and ready_wh > energy_wh):
            yield f"backed: found {said['backed']!r}, expected yes, no, or how many Wh of it are"


def _line(number: int, said: dict[str, str], account: bytes, currency: str) -> Line:
    """The order of a line without mistakes."""
    energy_wh = int(said["wh"])
    backed = said.get("backed", "").lower()
    order = StandingOrder(
        order_id=number.to_bytes(32, "big"),
        account=account,
        side=_SIDES[said["side"].lower()],
        energy_wh=energy_wh,
        ready_wh=int(backed) if backed.isdigit() else {"": energy_wh, "yes": energy_wh, "no": 0}[backed],
        price_u_kwh=_price(said, currency),
        sequence=(0, number),
    )
    return Line(number, said["member"], order, _FORCES[said.get("time_in_force", "").lower() or "gtc"])


def _price(said: dict[str, str], currency: str) -> int:
    return parse_price(f"{said['price_per_kwh']} {currency}/kWh", currency)


def _whole(text: str) -> int | None:
    """A whole number without sign, of no more digits than any amount has; or None."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= TEXT_MAX else None
