"""The simulator itself: seeds in every mode, the same run twice, and failures that can be seen again."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import msgspec
import pytest

from tests.protocols.village import HOMES
from tests.simulator import plan as plans
from tests.simulator.__main__ import main
from tests.simulator.faults import FAULTS
from tests.simulator.plan import MINUTE_MS, Plan, draw
from tests.simulator.runner import command, judge, run_seeds
from tests.simulator.world import World
from tests.source import ROOT

# What CI can afford; `make nightly` runs a thousand.
SEEDS = 30
MINUTES = 10


def test_nothing_breaks_whatever_happens() -> None:
    report = run_seeds(range(SEEDS), "majority", MINUTES * MINUTE_MS, 2, lambda _: None)
    assert not report.failures, "\n".join(report.lines())
    assert report.seeds == SEEDS
    assert report.checked["acknowledged records stay"] > 500
    assert report.checked["settles after trouble"] > SEEDS // 2
    missing = [kind for kind in FAULTS if not report.faults.get(kind)]
    assert not missing, "these faults never happened"


def test_who_lies_about_its_log_can_stop_a_majority_of_those_whose_power_failed() -> None:
    # Of three, the liar says after the others' power cut that it has blocks which nobody else has, and goes.
    report = run_seeds(range(254, 255), "majority", 20 * MINUTE_MS, 1, lambda _: None)
    assert not report.failures, "\n".join(report.lines())
    assert report.counts["runs stopped by a lie"] == 1


def test_one_seed_is_one_run() -> None:
    plan = draw(3, "majority", 2 * MINUTE_MS)
    first, second = World(plan).run(), World(plan).run()
    assert first == second
    assert first.events > 1000
    assert World(draw(4, "majority", 2 * MINUTE_MS)).run() != first


def test_every_fiftieth_seed_signs_with_real_keys() -> None:
    real = [seed for seed in range(200) if draw(seed, "majority", MINUTE_MS).real_keys]
    assert real == [49, 99, 149, 199]
    outcome = World(draw(49, "majority", MINUTE_MS)).run()
    assert outcome.violation is None and outcome.counts["acknowledged"]


def test_each_seed_draws_some_of_the_faults_and_none_all() -> None:
    drawn = [set(draw(seed, "majority", MINUTE_MS).faults) for seed in range(300)]
    assert set().union(*drawn) == {*plans.FAULTS, plans.CHANGE}
    assert all(len(faults) < len(plans.FAULTS) for faults in drawn)
    lies = [set(draw(seed, "majority", MINUTE_MS).lies) for seed in range(300)]
    assert set().union(*lies) == set(plans.LIES)


def test_some_seeds_have_learners_and_change_the_validators() -> None:
    for mode in plans.MODES:
        drawn = [draw(seed, mode, MINUTE_MS) for seed in range(200)]
        assert 40 < sum(plan.learners > 0 for plan in drawn) < 100
        assert all((plan.learners > 0) == (plans.CHANGE in plan.faults) for plan in drawn)
        assert all(plan.homes + plan.learners <= len(HOMES) for plan in drawn)


@pytest.mark.parametrize(("mode", "seed"), [("majority", 3), ("byzantine", 16)])
def test_learners_vote_and_validators_follow_as_the_ledger_says(mode: str, seed: int) -> None:
    plan = draw(seed, mode, 10 * MINUTE_MS)
    outcome = World(plan).run()
    assert outcome.violation is None, outcome.violation
    counts, checked = outcome.counts, outcome.checked
    assert counts["QuorumChange: ACCEPTED"] >= 2
    assert counts["ranges learned"] and counts["learners that vote"] and counts["validators that follow"]
    assert checked["those in force agree"] and checked["final by those in force"]
    assert checked["evidence never names the honest"]
    assert World(plan).run() == outcome, "one seed is one run"


@pytest.mark.parametrize("mode", ["majority", "byzantine"])
def test_those_who_lie_are_never_a_quorum(mode: str) -> None:
    for seed in range(200):
        plan = draw(seed, mode, MINUTE_MS)
        assert len(plan.liars) <= plans.tolerated(plan.homes, mode) < plan.homes / 2


def test_a_failure_is_cut_down_and_can_be_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # A node that forgets what it promised: the simulator must see it, and say how to see it again.
    monkeypatch.setattr("tests.simulator.disk.Disk.sync", lambda disk: None)
    for seed in range(100):
        plan = draw(seed, "majority", 10 * MINUTE_MS)
        if "crash" not in plan.faults or plan.liars:
            continue
        outcome, failure = judge(plan)
        if failure is not None:
            break
    assert failure is not None and outcome.violation is not None
    assert f"--seed {plan.seed} " in failure.replay
    kept = failure.shrunk.partition("--keep ")[2].split()
    small = plan.only(tuple(map(int, kept[0].split(",")))) if kept and kept[0] != "none" else plan.only(())
    assert len(small.episodes) < len(plan.episodes)
    if "--records" in failure.shrunk:
        small = msgspec.structs.replace(small, records_per_hour=int(failure.shrunk.split()[-1]))
    again = World(small).run()
    assert again.invariant == outcome.invariant
    assert failure.trace[-1].endswith(again.violation or "")


def test_the_line_that_replays_names_what_is_left() -> None:
    full = draw(7, "majority", 10 * MINUTE_MS)
    assert command(full, full) == "python -m tests.simulator --seed 7 --mode majority --minutes 10"
    numbers = tuple(episode.number for episode in full.episodes[:2])
    small: Plan = msgspec.structs.replace(full.only(numbers), records_per_hour=1)
    kept = ",".join(map(str, numbers))
    assert command(small, full).endswith(f"--minutes 10 --keep {kept} --records 1")


def test_the_command_prints_one_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "5", "--minutes", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["seeds"] == 1 and report["failures"] == []
    assert {"faults", "checked", "wall_s", "events_per_s", "node_hours_per_minute", "simulated_hours"} <= report.keys()
    assert main(["--seeds", "2", "--minutes", "1", "--jobs", "1"]) == 0
    assert "no violation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seeds", "0"), "found '0', expected a whole number above 0"),
        (("--minutes", "-5"), "expected a number above 0"),
        (("--minutes", "0"), "expected a number above 0"),
        (("--seed", "1", "--lies", "fibs"), "found 'fibs', expected some of: twins, "),
        (("--seed", "1", "--keep", "some"), "expected numbers like 3,7,12, or none"),
    ],
)
def test_a_run_of_nothing_is_refused(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_run_depends_on_its_seed_and_not_on_how_python_hashes() -> None:
    program = (
        "import msgspec; from tests.simulator.plan import draw; from tests.simulator.world import World; "
        "print(msgspec.json.encode(World(draw(50, 'majority', 600_000)).run(), order='deterministic').decode())"
    )
    shown = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": number, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        for number in ("1", "7")
    ]
    assert shown[0] == shown[1]
