"""Both transports keep one contract; tests that take `kind` run against each."""

import pytest
import trio.testing


@pytest.fixture(params=["memory", "libp2p"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def clock(kind: str) -> trio.testing.MockClock | None:
    """A virtual clock where no real sockets are waited for."""
    return trio.testing.MockClock(autojump_threshold=0) if kind == "memory" else None
