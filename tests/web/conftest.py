"""A home's node on a port of its own: emil's, at half past two on a summer's afternoon."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.hand_made import HandMade, SetClock, serving
from tests.web.street import Street


@pytest.fixture
def backend(tmp_path: Path):
    street = Street(tmp_path / "street", 5)
    backend = HandMade(street, "emil", SetClock(street.live_through(58) + 137))
    yield backend
    street.views.close()


@pytest.fixture
async def address(backend: HandMade) -> AsyncIterator[str]:
    async with serving(backend) as address:
        yield address
