"""Pairs: one metered period writes measurement and payment under one id, as a pair, exactly once."""

from __future__ import annotations

from meshnode.ledger.minting import pair_id
from meshnode.ledger.rows import Pair
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.settlement.pairs import PairWritten
from protocols.records import MEASURE_EXPORT, MEASURE_IMPORT
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.tokens import has, supply

HOMES = ("anna", "bela", "carla")


def village(*, settles: bool = True) -> Chain:
    """A log of drawn energy (1 for 100 Wh), a coin for each 1000 Wh given, and a token that settles.

    Anna has the sun; everybody else has 1,000,000 u to pay with.
    """
    chain = Chain()
    chain.block(
        *(chain.reading(home, -1, 0, 0) for home in HOMES),
        tokens.metered(chain, "LOG", MEASURE_IMPORT, 100),
        tokens.metered(chain, "COIN", MEASURE_EXPORT, 1000),
        *([chain.issue("anna", "EURO", 3_000_000, 10**9, asset_kind=0, settles=1)] if settles else []),
    )
    if settles:
        chain.block(*(chain.transfer("anna", home, 1_000_000, "EURO") for home in HOMES[1:]))
    # The assets count periods that begin after they were created: the first is 1.
    chain.block(*(chain.reading(home, 0, 0, 0) for home in HOMES), time_s=period_s(1) + 1)
    return chain


def sunny(chain: Chain, bela_wh: int = 640, *, bela: bool = True) -> PeriodClosed:
    """Period 1: anna gives 1500 Wh, bela draws 640, carla 300."""
    readings = [chain.reading("anna", 1, 0, 1500), chain.reading("carla", 1, 300, 0)]
    readings += [chain.reading("bela", 1, bela_wh, 0)] if bela else []
    chain.block(*readings, time_s=period_s(2) + (1 if bela else 600))
    return next(
        event
        for event in chain.events[chain.machine.height]
        if isinstance(event, PeriodClosed) and event.start_s == period_s(1)
    )


def by_home(pairs: tuple[PairWritten, ...]) -> dict[str, PairWritten]:
    names = {account(home): home for home in HOMES}
    return {names[one.account]: one for one in pairs}


def test_a_closed_period_writes_a_pair_for_each_account() -> None:
    chain = village()
    closed = sunny(chain)
    pairs = by_home(closed.pairs)
    assert sorted(pairs) == list(HOMES)
    money = {line.account: line.in_u - line.out_u for line in closed.settlement.lines}
    for home, one in pairs.items():
        assert one.pair.amount_u == money[account(home)]
        assert chain.machine.state.pairs[(period_s(1), account(home), 0)] == one.pair
        assert one.pair.pair_id == pair_id(period_s(1), account(home), 0)
    assert (pairs["bela"].pair.import_wh, pairs["anna"].pair.export_wh) == (640, 1500)
    # 640 Wh are 6 units of the log, 40 Wh wait; 1500 Wh are a coin, 500 Wh wait.
    assert [has(chain, home, "LOG")[0] for home in HOMES] == [0, 6, 3]
    assert [has(chain, home, "COIN")[0] for home in HOMES] == [1, 0, 0]
    assert chain.machine.state.carries[("LOG", account("bela"))].wh == 40


def test_what_waits_counts_in_the_next_period() -> None:
    chain = village()
    sunny(chain)
    chain.block(
        *(chain.reading("anna", 2, 0, 2000), chain.reading("bela", 2, 700, 0), chain.reading("carla", 2, 300, 0)),
        time_s=period_s(3) + 1,
    )
    assert has(chain, "bela", "LOG")[0] == 7 and has(chain, "anna", "COIN")[0] == 2


def test_claims_between_members_are_paid_with_the_token_that_settles() -> None:
    """What bela and carla owe anna moves in tokens; what the grid owes stays a claim. Nothing is lost."""
    chain = village()
    closed = sunny(chain)
    pairs = by_home(closed.pairs)
    assert pairs["bela"].pair.paid_u < 0 < pairs["anna"].pair.paid_u
    assert sum(one.pair.paid_u for one in closed.pairs) == 0
    claims = chain.claims()
    for home in HOMES:
        started = 1_000_000
        assert has(chain, home, "EURO")[0] == started + pairs[home].pair.paid_u
        assert claims.get(account(home), 0) == pairs[home].pair.amount_u - pairs[home].pair.paid_u
    assert supply(chain, "EURO") == 3_000_000


def test_who_has_no_tokens_stays_in_arrears_and_pays_them_later() -> None:
    chain = village()
    chain.block(chain.transfer("bela", "carla", 1_000_000, "EURO"))
    first = by_home(sunny(chain).pairs)
    owed = first["bela"].pair.amount_u
    assert owed < 0 and first["bela"].pair.paid_u == 0
    assert chain.claims()[account("bela")] == owed
    chain.block(chain.transfer("carla", "bela", 500_000, "EURO"))
    chain.block(
        *(chain.reading("anna", 2, 0, 1500), chain.reading("bela", 2, 640, 0), chain.reading("carla", 2, 300, 0)),
        time_s=period_s(3) + 1,
    )
    paid = chain.machine.state.pairs[(period_s(2), account("bela"), 0)].paid_u
    assert owed <= paid < 0
    assert has(chain, "bela", "EURO")[0] == 500_000 + paid


def test_nothing_is_minted_from_an_estimate_and_the_late_reading_mints_once() -> None:
    chain = village()
    closed = by_home(sunny(chain, bela=False).pairs)
    assert closed["bela"].pair.import_wh == 0 and has(chain, "bela", "LOG") == (0, 0)
    late = chain.reading("bela", 1, 640, 0)
    assert chain.say(late) == Verdict.ACCEPTED
    corrected = [event for event in chain.events[chain.machine.height] if isinstance(event, PeriodCorrected)]
    pairs = by_home(corrected[0].pairs)
    assert (pairs["bela"].entry, pairs["bela"].pair.import_wh) == (1, 640)
    assert has(chain, "bela", "LOG") == (6, 0)
    assert chain.say(late) == Verdict.REPEATED
    assert has(chain, "bela", "LOG") == (6, 0)


def test_pairs_after_a_correction_add_up_to_a_run_that_had_the_right_reading() -> None:
    """The sums over a period's entries, what was minted, and tokens with claims: as if it had been right at once."""
    wrong, right = village(), village()
    sunny(wrong, bela_wh=940)
    assert wrong.say(wrong.reading("bela", 1, 640, 0, version=1)) == Verdict.ACCEPTED
    sunny(right)
    for home in HOMES:
        sums = [0, 0, 0, 0]
        for _, row in wrong.machine.state.pairs.range(
            (period_s(1), account(home), 0), (period_s(1), account(home) + b"\0", 0)
        ):
            for place, value in enumerate(legs(row)):
                sums[place] += value
        assert tuple(sums) == legs(right.machine.state.pairs[(period_s(1), account(home), 0)])
        assert has(wrong, home, "LOG") == has(right, home, "LOG")
        worth = [has(chain, home, "EURO")[0] + chain.claims().get(account(home), 0) for chain in (wrong, right)]
        assert worth[0] == worth[1]


def test_what_was_minted_and_spent_is_taken_from_what_comes_next() -> None:
    chain = village()
    sunny(chain, bela_wh=940)
    chain.block(chain.transfer("bela", "carla", 9, "LOG"))
    assert chain.say(chain.reading("bela", 1, 640, 0, version=1)) == Verdict.ACCEPTED
    assert has(chain, "bela", "LOG") == (0, 0)
    assert chain.machine.state.carries[("LOG", account("bela"))].wh == 640 - 900
    chain.block(
        *(chain.reading("anna", 2, 0, 1500), chain.reading("bela", 2, 1040, 0), chain.reading("carla", 2, 300, 0)),
        time_s=period_s(3) + 1,
    )
    assert has(chain, "bela", "LOG") == (1, 0)
    assert chain.machine.state.carries[("LOG", account("bela"))].wh == 40


def test_without_such_assets_there_are_no_pairs() -> None:
    chain = Chain()
    chain.block(*(chain.reading(home, -1, 0, 0) for home in HOMES))
    chain.block(*(chain.reading(home, 0, 500, 0) for home in HOMES), time_s=period_s(1) + 1)
    assert len(chain.machine.state.pairs) == 0


def test_a_period_that_began_before_the_assets_has_no_pairs_either() -> None:
    """Nor its corrections: a pair of differences would have nothing that it differs from."""
    chain = village(settles=False)
    assert chain.say(chain.reading("bela", 0, 400, 0, version=1)) == Verdict.ACCEPTED
    assert len(chain.machine.state.pairs) == 0 and has(chain, "bela", "LOG") == (0, 0)


def test_pairs_leave_the_state_when_no_correction_can_follow() -> None:
    chain = village()
    sunny(chain)
    assert len(chain.machine.state.pairs) >= 3
    correction_s = chain.machine.rules().period.correction_s
    for day in range(1, correction_s // 86_400 + 3):
        chain.block(time_s=period_s(2) + day * 86_400)
    starts = {start for (start, _, _), _ in chain.machine.state.pairs.items()}
    assert period_s(1) not in starts


def legs(row: Pair) -> tuple[int, ...]:
    """Measurement and payment of a pair."""
    return row.import_wh, row.export_wh, row.produced_wh, row.amount_u
