"""Every scenario is a test; those that are too long for every run are marked nightly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.playing import Scenario, scenarios

SCENARIOS = [
    pytest.param(scenario, id=scenario.name, marks=[pytest.mark.nightly] if scenario.nightly else [])
    for scenario in scenarios()
]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_scenario(scenario: Scenario, tmp_path: Path) -> None:
    """The scenario comes to what it is to show."""
    await scenario.play(tmp_path)


def test_every_scenario_says_what_it_shows() -> None:
    assert [scenario.name for scenario in scenarios() if not scenario.shows] == []
