"""Pages: a few homes under a binding after one settled period, each with a node that is asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.effects.ledgers import text
from tests.web.client import get
from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted, Street

ORDERS = "When a member places an order\nThen match orders in a double auction at one price"


@asynccontextmanager
async def homes(*blocks: str, givens: tuple[str, ...] = ()) -> AsyncIterator[dict[str, str]]:
    """Addresses of the nodes of anna, who administers, bela, carla and dora.

    In the first period of the day carla has sold a kWh to bela, and fed another one in that all the others shared.
    """
    with TemporaryDirectory() as place:
        street = Street(Path(place) / "street", 4, text(ORDERS, *blocks, givens=givens), administrators=("anna",))
        street.begin()
        street.settle(
            MIDNIGHT_S,
            {
                "anna": Counted(500),
                "bela": Counted(1500),
                "carla": Counted(0, 2000, 2000),
                "dora": Counted(700),
            },
            street.order("bela", "buy", MIDNIGHT_S, 1000, 240_000),
            street.order("carla", "sell", MIDNIGHT_S, 1000, 130_000),
        )
        clock = SetClock(MIDNIGHT_S + PERIOD_S + 137)
        async with AsyncExitStack() as stack:
            yield {
                home: await stack.enter_async_context(serving(HandMade(street, home, clock))) for home in street.homes
            }
        street.views.close()


async def names_in(address: str, path: str) -> list[str]:
    """Whose rows an answer has."""
    found = (await get(address, path)).json
    [rows] = [value for name, value in found.items() if name != "next"]
    return sorted(row["name"] for row in rows)
