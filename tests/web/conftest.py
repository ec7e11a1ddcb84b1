"""A home's node on a port of its own: emil's, at half past two on a summer's afternoon."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import MIDNIGHT_S, PERIOD_S, Street


@pytest.fixture(scope="session")
def afternoon(tmp_path_factory: pytest.TempPathFactory) -> Street:
    """Five homes that have lived through half a day; made once, each test goes on from a copy."""
    street = Street(tmp_path_factory.mktemp("afternoon"), 5)
    street.live_through(58)
    return street


@pytest.fixture
def backend(afternoon: Street, tmp_path: Path) -> Iterator[HandMade]:
    street = afternoon.copy_to(tmp_path / "street")
    yield HandMade(street, "emil", SetClock(MIDNIGHT_S + 58 * PERIOD_S + 137))
    street.views.close()


@pytest.fixture
async def address(backend: HandMade) -> AsyncIterator[str]:
    async with serving(backend) as address:
        yield address
