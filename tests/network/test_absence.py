"""Absence: when a validator asks whether it was left behind, and when it stops voting."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from meshnode.network.absence import LOST_TIMEOUTS, Absence, Advice
from meshnode.network.validator import Validator

ELECTION_TICKS = 10
PATIENCE = LOST_TIMEOUTS * ELECTION_TICKS


def validator(astray: int = 0, takes_part: bool = True, halted: str | None = None) -> Validator:
    """One of which only this is known."""
    return cast(Validator, SimpleNamespace(astray=astray, takes_part=takes_part, halted=halted))


def test_who_hears_a_leader_votes_on() -> None:
    absence = Absence(ELECTION_TICKS)
    assert {absence.advise(validator(ticks), False) for ticks in range(PATIENCE)} == {Advice.VOTE}


def test_who_hears_nobody_asks_once_for_every_five_elections_it_missed() -> None:
    absence = Absence(ELECTION_TICKS)
    asked = [ticks for ticks in range(4 * PATIENCE) if absence.advise(validator(ticks), False) is Advice.ASK]
    assert asked == [PATIENCE, 2 * PATIENCE, 3 * PATIENCE]


def test_a_leader_that_is_heard_again_makes_it_patient_again() -> None:
    absence = Absence(ELECTION_TICKS)
    assert absence.advise(validator(2 * PATIENCE), False) is Advice.ASK
    assert absence.advise(validator(1), False) is Advice.VOTE
    assert absence.advise(validator(PATIENCE), False) is Advice.ASK


def test_who_is_no_validator_any_more_follows() -> None:
    assert Absence(ELECTION_TICKS).advise(validator(takes_part=False), False) is Advice.FOLLOW


def test_who_could_learn_nothing_stays_where_it_is() -> None:
    absence = Absence(ELECTION_TICKS)
    gone = validator(PATIENCE, takes_part=False)
    assert absence.advise(gone, True) is Advice.VOTE
    assert absence.advise(validator(PATIENCE, takes_part=False, halted="another state"), False) is Advice.VOTE
    assert absence.advise(gone, False) is Advice.FOLLOW
