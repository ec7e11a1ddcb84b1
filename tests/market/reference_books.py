"""Reference books: the load file through other people's order books, in an environment that is thrown away.

    python -m tests.market.reference_books FOLDER [SEED]

makes FOLDER/venv, installs the libraries there from the package index, runs the same operations
through them and through this project's book, and prints trades and speeds side by side. In that
environment this file runs as a script of its own (`run LIBRARY LOAD RESULT`), without this project.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LIBRARIES = {"pyorderbook": "pyorderbook==0.4.9", "bourse": "bourse==0.4.0"}
INSTALL_S = 600
RUN_S = 300


class CannotInstall(Exception):
    """The environment could not be made: no network, or no wheels for this machine."""


def compare(folder: Path, seed: int) -> dict[str, tuple[list[list[int]], float]]:
    """(trades, seconds) by library, this project's book under `meshnode`.

    Raises:
        CannotInstall: see there.
    """
    from tests.market.load import operations, run

    python = install(folder / "venv")
    load = operations(seed)
    deals, seconds, _ = run(load)
    found = {"meshnode": ([list(deal) for deal in deals], seconds)}
    source = folder / "load.json"
    source.write_text(json.dumps(load), encoding="utf-8")
    for library in LIBRARIES:
        result = folder / f"{library}.json"
        words = [str(python), "-I", __file__, "run", library, str(source), str(result)]
        subprocess.run(words, check=True, timeout=RUN_S, capture_output=True, text=True)
        told = json.loads(result.read_text(encoding="utf-8"))
        found[library] = (told["deals"], told["seconds"])
    return found


def install(venv: Path) -> Path:
    """Make the environment; return its interpreter."""
    python = venv / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--only-binary=:all:"]
    for words in ([sys.executable, "-m", "venv", str(venv)], [*pip, *LIBRARIES.values()]):
        made = subprocess.run(words, check=False, timeout=INSTALL_S, capture_output=True, text=True)
        if made.returncode:
            raise CannotInstall(f"{' '.join(words)}: {made.stderr.strip()[-400:]}")
    return python


def table(found: dict[str, tuple[list[list[int]], float]], count: int) -> str:
    """Trades and speeds side by side."""
    lines = [f"{'book':14}{'trades':>8}{'Wh':>14}{'seconds':>10}{'operations/s':>14}"]
    for library, (deals, seconds) in found.items():
        energy_wh = sum(deal[3] for deal in deals)
        lines.append(f"{library:14}{len(deals):8}{energy_wh:14}{seconds:10.3f}{count / seconds:14.0f}")
    return "\n".join(lines)


# --- in the other environment -----------------------------------------------------------------------


def run_pyorderbook(load: list[list]) -> tuple[list[list[int]], float]:
    """A book in pure Python; its prices are decimals, its ids random."""
    from pyorderbook import Book, ask, bid

    book = Book()
    orders: dict[int, object] = {}
    numbers: dict[object, int] = {}
    deals = []
    begun = time.perf_counter()
    for kind, number, *rest in load:
        if kind == "cancel":
            if book.get_order(orders[number].id) is not None:
                book.cancel(orders[number])
            continue
        _, energy_wh, price = rest
        order = (bid if kind == "buy" else ask)("kWh", price, energy_wh)
        orders[number] = order
        numbers[order.id] = number
        for trade in book.match(order).trades:
            deals.append([number, numbers[trade.standing_order_id], int(trade.fill_price), trade.fill_quantity])
    return deals, time.perf_counter() - begun


def run_bourse(load: list[list]) -> tuple[list[list[int]], float]:
    """A book in Rust; it numbers orders as they come, and keeps all trades."""
    import bourse

    book = bourse.core.OrderBook(0, 1)
    begun = time.perf_counter()
    for clock, (kind, number, *rest) in enumerate(load):
        book.set_time(clock)
        if kind == "cancel":
            book.cancel_order(number)
            continue
        member, energy_wh, price = rest
        placed = book.place_order(kind == "buy", energy_wh, member, price=price)
        assert placed == number, f"order {number} was numbered {placed}"
    deals = [[active, passive, price, energy_wh] for _, _, price, energy_wh, active, passive in book.get_trades()]
    return deals, time.perf_counter() - begun


RUNNERS: dict[str, Callable[[list[list]], tuple[list[list[int]], float]]] = {
    "pyorderbook": run_pyorderbook,
    "bourse": run_bourse,
}


def main(arguments: list[str]) -> int:
    """Compare; or, in the other environment, run one library."""
    if arguments[:1] == ["run"]:
        library, source, result = arguments[1:]
        deals, seconds = RUNNERS[library](json.loads(Path(source).read_text(encoding="utf-8")))
        Path(result).write_text(json.dumps({"deals": deals, "seconds": seconds}), encoding="utf-8")
        return 0
    if not arguments:
        print("usage: python -m tests.market.reference_books FOLDER [SEED]", file=sys.stderr)
        return 2
    from tests.market.load import OPERATIONS

    found = compare(Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1)
    print(table(found, OPERATIONS))
    same = all(deals == found["meshnode"][0] for deals, _ in found.values())
    print("the trades are the same" if same else "the trades differ")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
