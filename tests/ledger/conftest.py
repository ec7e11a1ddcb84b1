"""A ledger to look into: one busy morning, in memory and on disk, made once for a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledger.chain import Chain, a_busy_morning


@pytest.fixture(scope="module")
def morning() -> Chain:
    """The busy morning, and a last block that nobody has certified yet."""
    chain = a_busy_morning()
    chain.block(chain.bid("anna", 2, 100, 150_000), certify=False)
    return chain


@pytest.fixture(scope="module")
def ledger(morning: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It on disk: the microgrid's directory."""
    return morning.store(tmp_path_factory.mktemp("ledger"))
