"""Stored energy on the ledger: minted net of losses, burned, charged for, opened to newcomers, and put right later."""

from __future__ import annotations

from meshnode.ledger.capacity import room
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import education
from meshnode.settlement.restoring import Taken
from meshnode.settlement.storing import FeeCharged
from protocols.records import POLICY_ONCE
from tests.ledger import delivering as say
from tests.ledger import tokens
from tests.ledger.chain import Chain, account, member, period_s
from tests.ledger.delivering import with_storage
from tests.ledger.tokens import has, supply

ACCEPTED = Verdict.ACCEPTED


def test_stored_energy_is_minted_net_of_losses_and_burned_when_consumed() -> None:
    """1000 Wh in, 900 to have; 500 out, then 600: 400 were there, 200 come from the grid. Nobody is below zero."""
    chain = with_storage(access="ACCESS")
    assert chain.say(say.stored(chain, 11_000, 4_000, ("bela", 1_000, 0))) == ACCEPTED
    assert has(chain, "bela", "KEPT") == (900, 0)
    chain.block(say.stored(chain, 11_000, 4_500, ("bela", 0, 500)))
    assert has(chain, "bela", "KEPT") == (400, 0)
    chain.block(say.stored(chain, 11_000, 5_100, ("bela", 0, 600)))
    taken = [event for event in chain.events[chain.machine.height] if isinstance(event, Taken)]
    assert taken == [Taken("KEPT", account("bela"), 400, 200)]
    assert has(chain, "bela", "KEPT") == (0, 0) and supply(chain, "KEPT") == 0
    assert chain.say(say.stored(chain, 11_001, 5_100, ("carla", 1, 0))) == Verdict.NO_ACCESS
    assert chain.say(chain.issue("anna", "KEPT", 5, 10**9, asset_kind=1)) == Verdict.METER_MINTS


def with_corrected_period(**changes: object) -> Chain:
    """Bela has stored 1000 of 1000 Wh, and the first quarter of an hour was corrected."""
    chain = with_storage(efficiency_ppm=1_000_000, **changes)
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    chain.block(*(chain.reading(home, 0, 500) for home in ("anna", "bela", "carla")), time_s=period_s(1) + 1)
    chain.block(say.stored(chain, 11_000, 4_000, ("bela", 1_000, 0)), chain.reading("bela", 0, 400, version=1))
    assert chain.machine.state.periods[period_s(0)].corrections == 1
    return chain


def test_what_was_stored_for_the_wrong_member_is_put_right_once_and_only_that() -> None:
    chain = with_corrected_period()
    first_s = period_s(0)
    right = say.restored(chain, first_s, ("bela", -300, 0), ("carla", 300, 0))
    assert chain.say(right) == ACCEPTED and chain.say(right) == Verdict.REPEATED
    assert (has(chain, "bela", "KEPT"), has(chain, "carla", "KEPT")) == ((700, 0), (300, 0))
    moved = [one for one in chain.events[chain.machine.height - 1] if isinstance(one, Moved)]
    assert [(one.what, one.amount) for one in moved] == [(What.RESTORED, 300)] * 2
    wrong = [
        say.restored(chain, first_s, ("bela", -300, 0), ("carla", 299, 0)),
        say.restored(chain, first_s, ("bela", -701, 0), ("carla", 701, 0)),
        say.restored(chain, first_s, ("bela", 0, -1), ("carla", 0, 1)),
    ]
    assert chain.say(*wrong) == [Verdict.NOT_WHAT_COUNTED] * 3
    assert chain.say(say.restored(chain, first_s, ("anna", 1, 0), ("dora", -1, 0))) == Verdict.UNKNOWN_ACCOUNT
    chain.block(say.stored(chain, 12_900, 4_000, ("carla", 1_500, 0), ("bela", 400, 0)))
    full = say.restored(chain, first_s, ("bela", -300, 0), ("carla", 300, 0))
    assert chain.say(full) == Verdict.NO_ROOM
    assert chain.say(chain.transfer("carla", "anna", 1_800, "KEPT")) == ACCEPTED
    chain.block(say.storage(chain, efficiency_ppm=1_000_000, access="ACCESS"))
    assert chain.say(say.restored(chain, first_s, ("bela", -300, 0), ("carla", 300, 0))) == Verdict.NO_ACCESS


def test_what_burned_for_the_wrong_member_comes_back() -> None:
    """Bela's 600 were Carla's, who has 200: the other 400 were grid energy. Then 100 of them were Bela's after all."""
    chain = with_corrected_period()
    chain.block(say.stored(chain, 11_200, 4_600, ("bela", 0, 600), ("carla", 200, 0)))
    assert chain.say(say.restored(chain, period_s(0), ("bela", 0, -600), ("carla", 0, 600))) == ACCEPTED
    taken = [event for event in chain.events[chain.machine.height] if isinstance(event, Taken)]
    assert taken == [Taken("KEPT", account("carla"), 200, 400)]
    assert (has(chain, "bela", "KEPT"), has(chain, "carla", "KEPT")) == ((1_000, 0), (0, 0))
    assert chain.say(say.restored(chain, period_s(0), ("bela", 0, 100), ("carla", 0, -100))) == ACCEPTED
    assert (has(chain, "bela", "KEPT"), has(chain, "carla", "KEPT")) == ((900, 0), (0, 0))


def test_losses_are_rounded_once_and_nothing_is_lost_by_it() -> None:
    """Three times 5 Wh at 90 % are 13.5 Wh, not three times 4."""
    chain = with_storage()
    for number in (1, 2, 3):
        chain.block(say.stored(chain, 10_000 + 5 * number, 4_000, ("bela", 5, 0)))
    assert has(chain, "bela", "KEPT") == (13, 0)
    chain.block(say.stored(chain, 10_020, 4_000, ("bela", 5, 0)))
    assert has(chain, "bela", "KEPT") == (18, 0)


def test_nobody_stores_more_than_its_share() -> None:
    """Cost 300 at 200 per kWh: 2000 Wh a member. A maximum that is lowered takes nothing away."""
    chain = with_storage(efficiency_ppm=1_000_000)
    assert chain.machine.state.storages["KEPT"].most_wh == 2_000
    assert chain.say(say.stored(chain, 12_001, 4_000, ("bela", 2_001, 0))) == Verdict.NO_ROOM
    assert chain.say(say.stored(chain, 12_001, 4_000, ("bela", 2_000, 0), ("carla", 1, 0))) == ACCEPTED
    state = chain.machine.state
    assert (room(state, "KEPT", account("bela")), room(state, "EURO", account("bela"))) == (0, None)
    assert chain.say(say.storage(chain, efficiency_ppm=1_000_000, most_cost_u=30_000_000)) == ACCEPTED
    assert has(chain, "bela", "KEPT") == (2_000, 0) and room(state, "KEPT", account("bela")) == 0


def test_the_storage_fee_of_each_period_is_divided_and_what_cannot_be_paid_is_owed() -> None:
    """A fee of 1001: 100, 100, and 801 to the owners as they contributed - 561, 160 and 80."""
    chain = Chain(homes=5)
    chain.block(tokens.money(chain), chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    owners = sorted(((account("anna"), 7_000), (account("bela"), 2_000), (account("carla"), 1_000)))
    others = tuple(sorted(((account("dora"), 100_000), (account("bela"), 100_000))))
    rules = {"fee_asset": "EURO", "fee_u_kwh": 1_001, "owners_ppm": 800_000, "owners": tuple(owners), "others": others}
    chain.block(say.storage(chain, efficiency_ppm=1_000_000, **rules), tokens.pay_in(chain, "emil", 1_500, "bank 1"))
    chain.block(say.stored(chain, 0, 0))
    assert chain.say(say.stored(chain, 1_000, 0, ("emil", 1_000, 0))) == ACCEPTED

    def close(period: int) -> list[FeeCharged]:
        chain.block(time_s=period_s(period + 1) + 130)
        return [event for event in chain.events[chain.machine.height] if isinstance(event, FeeCharged)]

    (first,) = close(0)
    assert (first.due_u, first.paid_u, first.arrears_u) == (1_001, 1_001, 0)
    gains = {home: has(chain, home, "EURO")[0] for home in ("anna", "bela", "carla", "dora", "emil")}
    assert gains == {"anna": 561, "bela": 100 + 160, "carla": 80, "dora": 100, "emil": 499}
    (second,) = close(1)
    assert (second.paid_u, second.arrears_u, has(chain, "emil", "EURO")) == (499, 502, (0, 0))
    chain.block(tokens.pay_in(chain, "emil", 2_000, "bank 2"))
    assert has(chain, "emil", "EURO") == (2_000 - 502, 0), "what is owed is paid as soon as there is money"
    (third,) = close(2)
    assert (third.paid_u, third.arrears_u, has(chain, "emil", "EURO")) == (1_001, 0, (497, 0))
    assert sum(has(chain, home, "EURO")[0] for home in gains) == 3_500


def test_the_education_share_of_the_fee_buys_members_their_first_access() -> None:
    """Of a fee of 1001 the fund gets 100: enough for one first access a quarter, for who joined first.

    Emil stores and pays; he has access already. Dora, who came with the founders, gets hers before Finn, who joins
    later; anna issues access and needs none. Who gives its access away is given no other one.
    """
    chain = Chain(homes=5)
    access = chain.issue("anna", "ACCESS", 1_000_000_000, 1_000_000_000, policy=POLICY_ONCE)
    chain.block(tokens.money(chain), chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1), access)
    owners = sorted(((account("anna"), 7_000), (account("bela"), 2_000), (account("carla"), 1_000)))
    rules = {
        "access": "ACCESS",
        "fee_asset": "EURO",
        "fee_u_kwh": 1_001,
        "owners_ppm": 800_000,
        "owners": tuple(owners),
        "others": ((account("bela"), 100_000),),
        "education_ppm": 100_000,
        "grant_u": 100,
    }
    bad = {"education_ppm": 100_000, "grant_u": 0}, {"access": None}, {"education_ppm": 100_001}
    steps = [say.storage(chain, efficiency_ppm=1_000_000, **(rules | one)) for one in bad]
    assert chain.say(*steps) == [Verdict.RULES_CONTRADICT] * 3
    chain.block(say.storage(chain, efficiency_ppm=1_000_000, **rules), tokens.pay_in(chain, "emil", 9_000, "bank 1"))
    chain.block(*(chain.transfer("anna", home, 1, "ACCESS") for home in ("bela", "carla", "emil")))
    chain.block(say.stored(chain, 0, 0))
    assert chain.say(say.stored(chain, 1_000, 0, ("emil", 1_000, 0))) == ACCEPTED
    state, now = chain.machine.state, iter(range(10))

    def close() -> list[tuple[bytes, bytes, str, int]]:
        chain.block(time_s=period_s(next(now) + 1) + 130)
        events = [one for one in chain.events[chain.machine.height] if isinstance(one, Moved)]
        return [(one.giver, one.taker, one.asset, one.amount) for one in events if one.what == What.FIRST_ACCESS]

    fund, anna, dora, finn = education.fund_of("KEPT"), account("anna"), account("dora"), account("finn")
    assert close() == [(fund, anna, "EURO", 100), (anna, dora, "ACCESS", 1)]
    gains = {home: has(chain, home, "EURO")[0] for home in ("anna", "bela", "carla", "dora", "emil")}
    assert gains == {"anna": 561 + 100, "bela": 100 + 160, "carla": 80, "dora": 0, "emil": 7_999}
    assert chain.say(say.stored(chain, 1_500, 0, ("dora", 500, 0))) == ACCEPTED
    assert chain.say(chain.transfer("dora", "bela", 1, "ACCESS")) == ACCEPTED
    assert chain.say(chain.join(member("finn"))) == ACCEPTED
    assert close() == [(fund, anna, "EURO", 100), (anna, finn, "ACCESS", 1)]
    assert close() == [], "nobody gets a second one"
    assert education.has_u(state, "KEPT") > 0
    changed = say.storage(chain, efficiency_ppm=1_000_000, **(rules | {"grant_u": 90}))
    assert chain.say(changed) == Verdict.FUND_NOT_EMPTY
    assert sum(row.free + row.held for (_, code), row in state.balances.items() if code == "EURO") == 9_000
    restored = State.restore(state.dump())
    assert restored.state_hash() == chain.machine.state_hash() and len(restored.grants) == 5
