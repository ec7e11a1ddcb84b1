"""Lives: as many as the profile asks for are lived by the rules of `tests.ledger.living`, in bounded memory.

Also here: with one line of the ledger gone, a few lives are enough to notice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger.living import Living

# Hypothesis remembers each choice of a run until the run ends, which are a few hundred kB for a life: a night of two
# thousand lives in one run would come to half a gigabyte.
LIVES_A_RUN = 200
# A bug that so many lives do not meet is not looked for.
LIVES_FOR_A_BUG = 100


def live(life: type[Living], operations: int, part: int = 1) -> tuple[Counter[str], Counter[str]]:
    """As many lives as the profile's examples, or a part of them, of at most so many operations each.

    Returns:
        What happened, by operation and verdict; and what was noticed. Both are printed.
    """
    Living.happened.clear()
    Living.noticed.clear()
    left = max(1, settings().max_examples // part)
    # Without chance the next run would have the same lives again.
    assert left <= LIVES_A_RUN or not settings().derandomize, (
        f"{left} lives that are drawn alike, at most {LIVES_A_RUN}"
    )
    while left:
        lives = min(left, LIVES_A_RUN)
        run_state_machine_as_test(life, settings=settings(stateful_step_count=operations, max_examples=lives))  # type: ignore[no-untyped-call]
        left -= lives
    done, noticed = Living.happened, Living.noticed
    print(f"{done.total()} operations: {dict(sorted(done.items()))}; {dict(sorted(noticed.items()))}")
    return done, noticed


def all_met(found: Counter[str], *wanted: str) -> None:
    """A life in which everything is refused would show nothing, nor one in which nothing is."""
    missing = [one for one in wanted if not found[one]]
    assert not missing, f"never happened: {', '.join(missing)}; what did: {sorted(found)}"


def bug_is_found(life: type[Living], operations: int, place: str, broken: Callable[..., object]) -> None:
    """The test of the test: lives with `broken` in place of what stands at `place` end in an assertion."""
    few = settings(
        stateful_step_count=operations,
        max_examples=LIVES_FOR_A_BUG,
        phases=(Phase.generate,),
        derandomize=True,
        report_multiple_bugs=False,
    )
    with mock.patch(place, broken), pytest.raises((AssertionError, LookupError)):
        run_state_machine_as_test(life, settings=few)  # type: ignore[no-untyped-call]
