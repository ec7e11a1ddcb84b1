"""The simulator catches bugs: each mutant fits the product as it is, and some are hunted here.

`python -m tests.simulator.mutants` hunts all of them; `make nightly` does so too.
"""

from __future__ import annotations

import json

import pytest

from protocols.certificate import check_acks
from tests.simulator.bug import Bug, Change
from tests.simulator.bugs import BUGS
from tests.simulator.mutants import OutOfDate, hunt, main, planted

# Those that the first seeds catch within seconds.
FAST = (
    "skipped fsync",
    "signed before it is written",
    "hard state not saved",
    "sign state not saved",
    "pre-vote ignored",
    "votes unchecked",
)
LEAST_BUGS = 25


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_fits_the_product_as_it_is(bug: Bug) -> None:
    with planted(bug):
        pass


def test_there_are_many_and_no_two_are_the_same() -> None:
    assert len({bug.name for bug in BUGS}) == len({bug.changes for bug in BUGS}) == len(BUGS) >= LEAST_BUGS


@pytest.mark.parametrize("name", FAST)
def test_the_simulator_catches_it(name: str) -> None:
    bug = next(bug for bug in BUGS if bug.name == name)
    verdict = hunt(bug, seeds=6)
    assert verdict.caught, verdict


def test_a_bug_is_gone_when_it_was_hunted() -> None:
    before = check_acks.__code__
    bug = next(bug for bug in BUGS if bug.name == "size of certificates unchecked")
    with planted(bug):
        assert check_acks.__code__ is not before
    assert check_acks.__code__ is before


def test_a_bug_whose_place_is_gone_says_so() -> None:
    change = Change("protocols.certificate:check_acks", "no such words", "")
    with pytest.raises(OutOfDate, match="check_acks has 0 times"), planted(Bug("nothing", (change,))):
        pass


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "signed before", "--seeds", "2", "--jobs", "1", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert table["caught"] == 1 and table["mutants"][0]["invariant"] == "signed only what is on disk"


def test_a_name_that_no_bug_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--only", "no such bug"])
    assert stopped.value.code == 2
    assert "there are: skipped fsync, " in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_simulator_catches_every_bug(bug: Bug) -> None:
    verdict = hunt(bug)
    assert verdict.caught, verdict
