"""An afternoon in the neighbour market: orders above and below a price, and one reading that comes late."""

from __future__ import annotations

from tests.ledger.chain import Chain, period_s

HOMES = ("anna", "bela", "carla")


def an_afternoon() -> Chain:
    """Five periods: carla sells, anna buys at a good price and bela at a poor one; one reading comes late."""
    chain = Chain()
    chain.block(*(chain.reading(home, -1, 10_000, 500) for home in HOMES))
    registers = {home: [10_000, 500] for home in HOMES}
    for period in range(5):
        if period < 3:
            chain.block(
                chain.bid("anna", period, 300, 250_000),
                chain.bid("bela", period, 200, 120_000),
                chain.offer("carla", period, 450, 100_000),
                time_s=period_s(period) + 300,
            )
        for home, import_wh, export_wh in (("anna", 400, 0), ("bela", 300, 0), ("carla", 0, 600)):
            registers[home][0] += import_wh
            registers[home][1] += export_wh
        late = ("bela",) if period == 2 else ()
        chain.block(
            *(chain.reading(home, period, *registers[home]) for home in HOMES if home not in late),
            time_s=period_s(period + 1) + 130,
        )
        if late:
            chain.block(chain.reading("bela", period, *registers["bela"]), time_s=period_s(period + 1) + 200)
    return chain
