"""Delivery stories: for each verdict about points, sessions, coins and storages the shortest story that meets it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from unittest import mock

from meshnode.ledger.verdicts import Verdict
from protocols.records import GOOD_AT_ONCE, OrderStep, TradeReversed, credential_of
from tests.ledger import delivering as say
from tests.ledger import order_stories, tokens
from tests.ledger.chain import Chain, account, meter_id, period_s
from tests.ledger.delivering import HOUR_S
from tests.protocols.keys import key_pair

Found = Verdict | list[Verdict]
STORIES: dict[Verdict, Callable[[], Found]] = {}
CARD = credential_of("a card")


def story(verdict: Verdict) -> Callable[[Callable[[], Found]], object]:
    def tell(function: Callable[[], Found]) -> object:
        assert verdict not in STORIES
        STORIES[verdict] = function
        return function

    return tell


def with_points() -> Chain:
    """Bela's meter is a station, carla's gives energy for SUN; anna has 50 EURO and 100 SUN."""
    chain = Chain()
    chain.block(tokens.money(chain), chain.issue("anna"))
    chain.block(tokens.pay_in(chain, "anna", 50_000_000, "bank 1"))
    chain.block(say.station(chain, "bela"), say.coin_point(chain, "carla", "SUN", 100))
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}
    return chain


def with_storage(**changes: object) -> Chain:
    """Anna's KEPT is energy in a battery whose registers stand at 100 and 50 Wh."""
    chain = Chain()
    chain.block(tokens.money(chain), chain.issue("anna"), chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    chain.block(say.storage(chain, **changes))
    assert chain.say(say.stored(chain, 100, 50)) == Verdict.ACCEPTED
    return chain


@story(Verdict.UNKNOWN_POINT)
def _() -> Found:
    """A meter that is none, one that was closed, twice; and a card for a point that is none."""
    chain = with_points()
    chain.block(say.close(chain, "bela"))
    return chain.say(
        say.reserve(chain, "anna", "anna"),
        say.reserve(chain, "anna", "bela"),
        say.redeem(chain, "anna", "anna", 1, 100),
        say.close(chain, "bela"),
        say.bind(chain, "anna", CARD, "anna"),
    )


@story(Verdict.OTHER_POINT_TERMS)
def _() -> Found:
    """The price was raised while somebody read the old one; a coin that is worth less; a station takes no coins."""
    chain = with_points()
    late = say.reserve(chain, "anna", "bela")
    chain.block(say.station(chain, "bela", price_u_kwh=260_000))
    return chain.say(
        late,
        say.redeem(chain, "anna", "carla", 1, 99),
        say.redeem(chain, "anna", "bela", 1, 100),
        say.reserve(chain, "anna", "carla"),
    )


@story(Verdict.POINT_BUSY)
def _() -> Found:
    """Two reserve in one block: the first has it."""
    chain = with_points()
    chain.block(say.redeem(chain, "anna", "carla", 1, 100))
    chain.block(say.reserve(chain, "anna", "bela"), say.reserve(chain, "anna", "bela"))
    first, second = chain.verdicts()
    assert first == Verdict.ACCEPTED
    last = chain.say(say.redeem(chain, "anna", "carla", 1, 100))
    assert isinstance(last, Verdict)
    return [second, last]


@story(Verdict.UNKNOWN_DELIVERY)
def _() -> Found:
    """Never reserved, refused, and a token that is no session."""
    chain = with_points()
    never, token = say.reserve(chain, "anna", "bela"), chain.issue("anna")
    chain.block(token)
    return chain.say(
        say.tick(chain, "bela", never, "begin", 0),
        say.tick(chain, "bela", token, "begin", 0),
        say.cancel(chain, "anna", never),
    )


@story(Verdict.DELIVERY_OVER)
def _() -> Found:
    """Called off; ended; and nothing begins it again."""
    chain = with_points()
    session, sent = say.reserve(chain, "anna", "bela"), say.redeem(chain, "anna", "carla", 1, 100)
    chain.block(session, sent)
    chain.block(say.cancel(chain, "anna", session), say.tick(chain, "carla", sent, "begin", 0))
    chain.block(say.tick(chain, "carla", sent, "end", 40))
    return chain.say(
        say.tick(chain, "bela", session, "begin", 0),
        say.cancel(chain, "bela", session),
        *(say.tick(chain, "carla", sent, sign, 50) for sign in say.SIGNS),
        say.cancel(chain, "anna", sent),
    )


@story(Verdict.NOT_BEGUN)
def _() -> Found:
    chain = with_points()
    session = say.reserve(chain, "anna", "bela")
    chain.block(session)
    return chain.say(say.tick(chain, "bela", session, "run", 5), say.tick(chain, "bela", session, "end", 5))


@story(Verdict.BEGUN_ALREADY)
def _() -> Found:
    """Energy flows: neither who pays nor the station calls it off."""
    chain = with_points()
    session = say.reserve(chain, "anna", "bela")
    chain.block(session)
    chain.block(say.tick(chain, "bela", session, "begin", 5))
    return chain.say(
        say.tick(chain, "bela", session, "begin", 9),
        say.cancel(chain, "anna", session),
        say.cancel(chain, "bela", session),
    )


@story(Verdict.COUNTER_BACK)
def _() -> Found:
    """Of a station, and of a storage."""
    chain = with_points()
    session = say.reserve(chain, "anna", "bela")
    chain.block(session)
    chain.block(say.tick(chain, "bela", session, "begin", 500))
    storage = with_storage()
    found = storage.say(say.stored(storage, 99, 50), say.stored(storage, 100, 49))
    assert isinstance(found, list)
    last = chain.say(say.tick(chain, "bela", session, "end", 499))
    assert isinstance(last, Verdict)
    return [*found, last]


@story(Verdict.OLD_TICK)
def _() -> Found:
    """What was signed before what is known says nothing new, whatever it counts."""
    chain = with_points()
    session = say.reserve(chain, "anna", "bela")
    chain.block(session)
    begin = say.tick(chain, "bela", session, "begin", 0)
    chain.block(begin)
    time_s = begin.record.time_s  # type: ignore[attr-defined]
    return chain.say(
        say.tick(chain, "bela", session, "end", 700, time_s=time_s),
        say.tick(chain, "bela", session, "run", 700, time_s=time_s - 1),
    )


@story(Verdict.TICK_TOO_SOON)
def _() -> Found:
    """Five seconds after the last: whoever charges has it, the ledger need not."""
    chain = with_points()
    session = say.reserve(chain, "anna", "bela")
    chain.block(session)
    chain.block(say.tick(chain, "bela", session, "begin", 0))
    return chain.say(say.tick(chain, "bela", session, "run", 10))


@story(Verdict.UNKNOWN_CREDENTIAL)
def _() -> Found:
    """Never bound; bound elsewhere; for another asset; removed twice; a key that is not the one; no consent."""
    chain = with_points()
    phone = key_pair("phone")
    chain.block(say.station(chain, "anna"))
    elsewhere, sun, key = credential_of("elsewhere"), credential_of("sun"), hashlib.sha256(phone.public).digest()
    chain.block(
        say.bind(chain, "anna", elsewhere, "anna"),
        say.bind(chain, "anna", sun, "bela", asset="SUN"),
        say.bind(chain, "anna", key, "bela", public_key=phone.public),
    )
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}
    return chain.say(
        *(say.reserve(chain, "bela", "bela", credential=one) for one in (CARD, elsewhere, sun, key)),
        say.reserve(chain, "bela", "bela", credential=key, number=1, proof=phone.sign(b"something else")),
        say.remove(chain, "anna", CARD),
        say.bind(chain, "anna", CARD, "bela", public_key=phone.public),
    )


@story(Verdict.CREDENTIAL_TAKEN)
def _() -> Found:
    chain = with_points()
    assert chain.say(say.bind(chain, "anna", CARD, "bela")) == Verdict.ACCEPTED
    return chain.say(say.bind(chain, "carla", CARD, "bela"))


@story(Verdict.OVER_LIMIT)
def _() -> Found:
    """6.10 for who has allowed 6.09."""
    chain = with_points()
    chain.block(say.bind(chain, "anna", CARD, "bela", most_u=6_099_999))
    return chain.say(say.reserve(chain, "bela", "bela", credential=CARD))


@story(Verdict.NO_ACCESS)
def _() -> Found:
    """Without the access token nobody stores in the common battery, or draws from it."""
    chain = with_storage(access="SUN")
    chain.block(say.coin_point(chain, "carla", "KEPT", 1, route=1))
    return chain.say(say.stored(chain, 110, 50, ("bela", 10, 0)), say.redeem(chain, "bela", "carla", 1, 1))


@story(Verdict.NO_ROOM)
def _() -> Found:
    """2000 Wh a member: charged beyond it, sent, sold for money outside, exchanged, bought at once, auctioned, taken
    back. What it ordered before waits until there is room, and trades as soon as there is."""
    chain = with_storage(efficiency_ppm=1_000_000)
    chain.block(say.stored(chain, 3_600, 50, ("bela", 2_000, 0), ("carla", 1_500, 0)))
    offered = tokens.offer(chain, "carla", (1, "KEPT"), (1, "COIN2"))
    chain.block(chain.issue("anna", "COIN2"), chain.transfer("anna", "bela", 60, "COIN2"))
    sale = tokens.sell(chain, "carla", "bela", 1, "KEPT")
    kept = {"asset": "KEPT", "paid_with": "COIN2"}
    lot = order_stories.rising(chain, "carla", 1, 1, 1, **kept)
    waiting = order_stories.buy(chain, "bela", 2, 1, **kept)
    chain.block(offered, sale, lot, waiting)
    assert set(chain.verdicts()) == {Verdict.ACCEPTED}
    assert chain.machine.state.standing[waiting.record_id].ready_wh == 0
    refused = chain.say(
        say.stored(chain, 3_601, 50, ("bela", 1, 0)),
        chain.transfer("carla", "bela", 1, "KEPT"),
        tokens.confirm(chain, "carla", sale),
        tokens.accept(chain, "bela", offered),
        order_stories.buy(chain, "bela", 1, 1, good=GOOD_AT_ONCE, **kept),
        order_stories.falling(chain, "bela", 1, 1, **kept),
        order_stories.bid(chain, "bela", lot, 1, 1),
    )
    # Bela uses 1 Wh: one of the two that it waits for is bought in that moment, and no more.
    chain.block(order_stories.sell(chain, "carla", 1, 1, **kept))
    assert tokens.has(chain, "bela", "KEPT") == (2_000, 0)
    chain.block(say.stored(chain, 3_600, 51, ("bela", 0, 1)))
    assert tokens.has(chain, "bela", "KEPT") == (2_000, 0)
    assert chain.machine.state.standing[waiting.record_id].open_wh == 1
    # What bela sold does not come back to her once she is full again.
    chain.block(order_stories.cancel(chain, "bela", waiting), chain.transfer("anna", "carla", 1, "COIN2"))
    chain.block(tokens.withdraw(chain, "carla", offered))
    chain.block(order_stories.sell(chain, "bela", 1, 2, **kept))
    chain.block(order_stories.buy(chain, "anna", 1, 2, **kept))
    height = chain.machine.height
    assert chain.say(chain.transfer("carla", "bela", 1, "KEPT")) == Verdict.ACCEPTED
    undo = [chain.speak(home, OrderStep, step=TradeReversed(height=height, number=0)) for home in ("anna", "bela")]
    found = chain.say(*undo)
    assert isinstance(refused, list) and isinstance(found, list) and found[0] == Verdict.ACCEPTED
    return [*refused, found[1]]


@story(Verdict.NOT_STORED)
def _() -> Found:
    """Money, what exists already, another meter than before, somebody else's meter; coins that are not Wh."""
    chain = with_storage()
    chain.block(chain.issue("anna", "GOLD", 5, 10, asset_kind=1))
    return chain.say(
        say.storage(chain, asset="SUN"),
        say.storage(chain, asset="GOLD"),
        say.storage(chain, meter="bela"),
        say.stored(chain, 110, 50, ("bela", 10, 0), meter="bela"),
        say.stored(chain, 110, 50, ("bela", 10, 0), asset="SUN"),
        say.coin_point(chain, "carla", "SUN", 1, route=1),
        say.coin_point(chain, "carla", "KEPT", 2, route=1),
    )


@story(Verdict.NOTHING_RELEASED)
def _() -> Found:
    """Two redemptions at once left 120 Wh open, of coins of 100 Wh: one more coin does not pay for them."""
    chain = with_points()
    chain.block(say.coin_point(chain, "bela", "SUN", 100))
    one, two = say.redeem(chain, "anna", "bela", 1, 100), say.redeem(chain, "anna", "carla", 1, 100)
    chain.block(one, two)
    chain.block(say.tick(chain, "bela", one, "begin", 0), say.tick(chain, "carla", two, "begin", 0))
    chain.block(say.tick(chain, "bela", one, "end", 60), say.tick(chain, "carla", two, "end", 60))
    return chain.say(say.redeem(chain, "anna", "bela", 1, 100))


@story(Verdict.NOT_OWN_BATTERY)
def _() -> Found:
    chain = with_points()
    chain.block(say.coin_point(chain, "carla", "SUN", 100, route=2))
    return chain.say(say.redeem(chain, "anna", "carla", 1, 100))


@story(Verdict.TOO_MANY_CREDENTIALS)
def _() -> Found:
    """One that is removed makes room."""
    chain = with_points()
    with mock.patch("meshnode.settlement.points.MAX_CREDENTIALS_PER_ACCOUNT", 1):
        chain.block(say.bind(chain, "anna", CARD, "bela"))
        refused = chain.say(say.bind(chain, "anna", credential_of("another"), "bela"))
        chain.block(say.remove(chain, "anna", CARD))
        assert chain.say(say.bind(chain, "anna", credential_of("another"), "bela")) == Verdict.ACCEPTED
    return refused


@story(Verdict.FUND_NOT_EMPTY)
def _() -> Found:
    """Bela's fee of 5 came into the fund for first access, which costs 6; then it shall cost 7."""
    chain = Chain()
    chain.block(tokens.money(chain), chain.issue("anna", "KEPT", 0, 10**9, asset_kind=1), chain.issue("anna"))
    rules = {"access": "SUN", "fee_asset": "EURO", "fee_u_kwh": 5, "education_ppm": 1_000_000}
    chain.block(say.storage(chain, **rules, grant_u=6), tokens.pay_in(chain, "bela", 100, "bank 1"))
    chain.block(say.stored(chain, 0, 0), chain.transfer("anna", "bela", 1))
    chain.block(say.stored(chain, 2_000, 0, ("bela", 2_000, 0)))
    chain.block(time_s=period_s(1) + 130)
    return chain.say(say.storage(chain, **rules, grant_u=7))


@story(Verdict.NOT_CORRECTED)
def _() -> Found:
    """A period that never was, one that nobody corrected, a period without corrections, and more in one record."""
    chain = with_storage()
    chain.block(*(chain.reading(home, -1, 0) for home in ("anna", "bela", "carla")))
    chain.block(*(chain.reading(home, 0, 500) for home in ("anna", "bela", "carla")), time_s=period_s(1) + 1)
    change = ("bela", -1, 0), ("carla", 1, 0)
    return chain.say(
        say.restored(chain, period_s(9), *change),
        say.restored(chain, period_s(0), *change),
        say.restored(chain, period_s(0)),
        say.restored(chain, period_s(0), *change, charged_wh=101, parts=((account("bela"), 1, 0),)),
    )


@story(Verdict.NOT_WHAT_COUNTED)
def _() -> Found:
    """More and less than the registers say; and before anybody knows where they stood."""
    chain = with_storage()
    fresh = Chain()
    fresh.block(fresh.issue("anna", "KEPT", 0, 10**9, asset_kind=1))
    fresh.block(say.storage(fresh))
    found = chain.say(
        say.stored(chain, 110, 50, ("bela", 11, 0)),
        say.stored(chain, 110, 50, ("bela", 9, 0)),
        say.stored(chain, 110, 50),
        say.stored(chain, 100, 51, ("bela", 0, 2)),
    )
    assert isinstance(found, list)
    last = fresh.say(say.stored(fresh, 10, 0, ("bela", 10, 0)))
    assert isinstance(last, Verdict)
    return [*found, last]


def refusals() -> dict[str, tuple[list[Verdict], Verdict]]:
    """What else is refused, by verdicts that have their stories elsewhere: by name (found, expected)."""
    chain = with_points()
    session = say.reserve(chain, "anna", "bela")
    chain.block(session)
    storage = with_storage()
    shares = {"fee_asset": "EURO", "fee_u_kwh": 5, "others": ((b"\1" * 16, 1_000_000),)}
    other = with_points()
    ends = (chain.now_s, chain.now_s + 3 * HOUR_S)

    def told(where: Chain, *records: object) -> list[Verdict]:
        found = where.say(*records)  # type: ignore[arg-type]
        return found if isinstance(found, list) else [found]

    return {
        "another meter": (told(chain, say.tick(chain, "carla", session, "begin", 0)), Verdict.WRONG_KEY),
        "a stranger": (
            told(chain, say.cancel(chain, "carla", session), say.close(chain, "carla", "bela"))
            + told(other, say.reserve(other, "carla", "bela", credential=CARD)),
            Verdict.NOT_FOR_YOU,
        ),
        "somebody else's meter": (
            told(
                chain,
                say.station(chain, "bela", meter=meter_id("carla")),
                say.station(chain, "bela", meter=b"no meter"),
            ),
            Verdict.METER_NOT_ACTIVE,
        ),
        "no such asset": (
            told(
                chain,
                say.station(chain, "bela", asset="GOLD"),
                say.bind(chain, "anna", CARD, "bela", asset="GOLD"),
                say.storage(chain, asset="GOLD"),
            ),
            Verdict.UNKNOWN_ASSET,
        ),
        "no such member": (
            told(chain, say.station(chain, "bela", energy_to=b"\1" * 16))
            + told(storage, say.storage(storage, **shares), say.stored(storage, 101, 50, ("nobody", 1, 0))),
            Verdict.UNKNOWN_ACCOUNT,
        ),
        "an end that is none": (
            [
                verdict
                for end_s in ends
                for verdict in told(chain, say.redeem(chain, "anna", "carla", 1, 100, until_s=end_s))
            ],
            Verdict.END_NOT_AHEAD,
        ),
        "too poor": (told(chain, say.redeem(chain, "anna", "carla", 101, 100)), Verdict.NOT_ENOUGH),
        "a fee without a part": (
            told(
                storage,
                say.storage(storage, fee_u_kwh=5),
                say.storage(storage, fee_asset="EURO"),
                say.storage(storage, fee_asset="EURO", fee_u_kwh=5, owners_ppm=1_000_000),
            ),
            Verdict.RULES_CONTRADICT,
        ),
        "another's asset": (told(storage, say.storage(storage, "bela")), Verdict.NOT_ISSUER),
        "more than may exist": (_over_cap(), Verdict.OVER_CAP),
    }


def _over_cap() -> list[Verdict]:
    chain = Chain()
    chain.block(chain.issue("anna", "KEPT", 0, 100, asset_kind=1))
    chain.block(say.storage(chain))
    chain.block(say.stored(chain, 0, 0))
    found = chain.say(say.stored(chain, 200, 0, ("bela", 200, 0)))
    assert isinstance(found, Verdict)
    return [found]
