"""Fixtures of the node's stories."""

import pytest

from drivers import driver


@pytest.fixture(autouse=True)
def the_driver_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver of `tests.node.meters` is installed."""
    monkeypatch.setitem(driver.BUILTIN, "told", "tests.node.meters:told")
