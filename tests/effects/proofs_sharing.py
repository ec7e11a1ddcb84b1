"""Proofs: how a period's energy is shared, and by what."""

from __future__ import annotations

from meshnode.ledger.verdicts import Verdict
from tests.effects.proof import Proof
from tests.effects.village import (
    CARLA,
    clock,
    closed,
    closes,
    contract,
    founded,
    line,
    period,
    settled,
    taken,
)
from tests.ledger.chain import period_s

# Carla has 900 Wh; Anna needs 300 of it, Bela 900.
DAY = {"anna": (300, 0), "bela": (900, 0), "carla": (0, 900)}
SHARES = ("'anna' has an allocation share of 50 %", "'bela' has an allocation share of 50 %")


def shared(*actions: str, given: tuple[str, ...] = ()) -> dict[str, int]:
    """What Anna and Bela take of Carla's energy."""
    return taken(settled(*actions, given=given, **DAY)[1])


NOTHING = ("charge a fee of 0.01 EUR/kWh on 'traded energy'",)


def the_event() -> None:
    """What is said to happen when a period closes happens then; without it everything is the grid's."""
    assert shared("share production in proportion to use") == {"anna": 225, "bela": 675}
    chain = founded(contract())
    assert taken(period(chain, **DAY)) == {}


def mid_market() -> None:
    """Anna pays 0.20 for a shared kWh, halfway between 0.30 and 0.10; by use alone she would pay nothing for it."""
    chain, found = settled("share production at the mid-market rate", **DAY)
    assert taken(found) == {"anna": 225, "bela": 675}
    assert chain.claims()[CARLA] == 180_000
    chain, _ = settled("share production in proportion to use", **DAY)
    assert CARLA not in chain.claims()


def fixed_shares() -> None:
    """Half is Anna's, who uses 300 Wh of her 450."""
    assert shared("share production by fixed allocation shares", given=SHARES) == {"anna": 300, "bela": 450}


def by_use() -> None:
    """Bela needs three times as much and gets three times as much."""
    assert shared("share production in proportion to use") == {"anna": 225, "bela": 675}
    assert shared(*NOTHING) == {}


def offered_again() -> None:
    """The 150 Wh that Anna leaves go to Bela."""
    actions = ("share production by fixed allocation shares", "offer unused shares again in proportion to use")
    assert shared(*actions, given=SHARES) == {"anna": 300, "bela": 600}
    assert shared(actions[0], given=SHARES) == {"anna": 300, "bela": 450}


def equal_parts() -> None:
    """Of 900 Wh three homes have 300 each; what Carla cannot use is left over."""
    assert shared("share production in equal parts") == {"anna": 300, "bela": 300}


def equal_rounds() -> None:
    """What Carla cannot use is offered again, and Bela takes it."""
    assert shared("share production in equal parts in rounds") == {"anna": 300, "bela": 600}


def by_rank() -> None:
    """Bela comes first and leaves nothing; without her rank she comes last."""
    rank = "share production by rank"
    assert shared(rank, given=("'bela' has rank 1 in sharing", "'anna' has rank 2 in sharing")) == {"bela": 900}
    assert shared(rank, given=("'anna' has rank 2 in sharing",)) == {"anna": 300, "bela": 600}


def in_rounds() -> None:
    """Anna's share of 80 % is more than she needs; in rounds Bela gets the rest, by fixed shares her 20 %."""
    given = ("'anna' has an allocation share of 80 %", "'bela' has an allocation share of 20 %")
    assert shared("share production by allocation shares in rounds", given=given) == {"anna": 300, "bela": 600}
    assert shared("share production by fixed allocation shares", given=given) == {"anna": 300, "bela": 180}


def by_a_named_key() -> None:
    """Austria's dynamic key goes by use, its static one by agreed shares."""
    assert shared("share production by the key 'Austria dynamic'") == {"anna": 225, "bela": 675}
    assert shared("share production by the key 'Austria static'", given=SHARES) == {"anna": 300, "bela": 450}


def show_only() -> None:
    """Everything is reckoned, and nobody owes anything - also not after a correction."""
    plain = "share production at the mid-market rate"
    for actions, owed in (((plain,), True), ((plain, "show amounts and move no money"), False)):
        chain, found = settled(*actions, **DAY)
        assert line(found, "anna").out_u == 67_500
        assert bool(chain.claims()) is owed
        assert chain.say(chain.reading("anna", 0, 10_400, 10_000, version=1)) is Verdict.ACCEPTED
        assert line(closed(chain), "anna").out_u > 67_500
        assert bool(chain.claims()) is owed


def a_share() -> None:
    """Who has no share gets nothing."""
    one = ("'anna' has an allocation share of 100 %",)
    assert shared("share production by fixed allocation shares", given=one) == {"anna": 300}
    assert shared("share production by fixed allocation shares", given=SHARES) == {"anna": 300, "bela": 450}


def a_share_in_a_band() -> None:
    """In the first quarter of an hour all is Bela's, in the second they share alike."""
    given = (
        *SHARES,
        f"the band 'early' runs from {clock(0)} to {clock(1)}",
        "'anna' has an allocation share of 0 % in the band 'early'",
        "'bela' has an allocation share of 100 % in the band 'early'",
    )
    chain = founded(contract(closes("share production by fixed allocation shares"), given=given))
    assert taken(period(chain, 0, **DAY)) == {"bela": 900}
    assert taken(period(chain, 1, **DAY)) == {"anna": 300, "bela": 450}


def a_rank() -> None:
    """The lower number is served before the other, whoever has it."""
    rank = "share production by rank"
    assert shared(rank, given=("'bela' has rank 1 in sharing", "'anna' has rank 2 in sharing")) == {"bela": 900}
    turned = ("'bela' has rank 2 in sharing", "'anna' has rank 1 in sharing")
    assert shared(rank, given=turned) == {"anna": 300, "bela": 600}


def a_price_of_shared_energy() -> None:
    """Carla is paid 0.15 for each shared kWh; without the sentence what is shared costs nothing."""
    chain, _ = settled("share production in proportion to use", given=("shared energy costs 0.15 EUR/kWh",), **DAY)
    assert chain.claims()[CARLA] == 135_000
    chain, _ = settled("share production in proportion to use", **DAY)
    assert CARLA not in chain.claims()


def served_first() -> None:
    """Bela carries the role: she gets all, and Anna what is left - nothing."""
    given = ("there is a role 'clinic'",)
    for actions, expected in (
        (("serve 'clinic' first",), {"bela": 900}),
        ((), {"anna": 225, "bela": 675}),
    ):
        text = contract(closes("share production in proportion to use", *actions), given=given)
        chain = founded(text, roles={"bela": ("clinic",)})
        assert taken(period(chain, **DAY)) == expected


def shared_above() -> None:
    """More than half of what Carla injects is shared: then, and only then, there is a fee on it."""
    for given_wh, fee_u in ((900, 9_000), (3_000, 0)):
        text = contract(
            closes("share production in proportion to use"),
            closes("if the shared energy is above 50 % of the injected energy", *NOTHING),
        )
        chain = founded(text)
        found = period(chain, anna=(300, 0), bela=(900, 0), carla=(0, given_wh))
        grid_u = 90_000 if given_wh == 900 else 0
        assert line(found, "anna").out_u + line(found, "bela").out_u == grid_u + fee_u


def shared_below() -> None:
    """Most of what Carla injects leaves the village: then, and only then, there is a fee on what does not."""
    for given_wh, fee_u in ((900, 0), (3_000, 12_000)):
        text = contract(
            closes("share production in proportion to use"),
            closes("if the shared energy is below 50 % of the injected energy", *NOTHING),
        )
        chain = founded(text)
        found = period(chain, anna=(300, 0), bela=(900, 0), carla=(0, given_wh))
        grid_u = 90_000 if given_wh == 900 else 0
        assert line(found, "anna").out_u + line(found, "bela").out_u == grid_u + fee_u


def the_period() -> None:
    """A quarter of an hour is settled when it is over; where a period is an hour, nothing is by then."""
    text = contract(closes("share production in proportion to use"))
    chain = founded(text)
    assert period(chain, **DAY).lines
    hourly = founded(text.replace("15 minutes", "1 hour"))
    hourly.block(*(hourly.reading(home, -4, 10_000, 10_000) for home in hourly.village.homes))
    hourly.block(time_s=period_s(1) + 200)
    assert hourly.machine.state.periods.get(period_s(0)) is None
    hourly.block(time_s=period_s(4) + 200)
    assert hourly.machine.state.periods[period_s(0)].length_s == 3_600


def the_grace() -> None:
    """Two minutes after its end a period settles without the reading that is missing; with ten it waits."""
    text = contract(closes("share production in proportion to use"))
    for words, waits in (("2 minutes", False), ("10 minutes", True)):
        chain = founded(text.replace("settles 2 minutes", f"settles {words}"))
        chain.block(time_s=period_s(1) + 130)
        assert (chain.machine.state.periods.get(period_s(0)) is None) is waits


def the_deadline_of_corrections() -> None:
    """Three hours later a reading is taken where corrections have two days, and refused where they have an hour."""
    text = contract(closes("share production in proportion to use"))
    for words, verdict in (("2 days", Verdict.ACCEPTED), ("1 hour", Verdict.CORRECTION_TOO_LATE)):
        chain = founded(text.replace("for 2 days", f"for {words}"))
        period(chain, **DAY)
        chain.block(time_s=period_s(13))
        assert chain.say(chain.reading("anna", 0, 10_400, 10_000, version=1)) is verdict


PROOFS: dict[int, Proof] = {
    101: the_period,
    102: the_grace,
    103: the_deadline_of_corrections,
    111: a_share,
    128: a_price_of_shared_energy,
    130: a_share_in_a_band,
    131: a_rank,
    303: the_event,
    404: shared_above,
    405: shared_below,
    520: mid_market,
    521: fixed_shares,
    522: by_use,
    523: offered_again,
    524: equal_parts,
    525: by_rank,
    526: in_rounds,
    527: equal_rounds,
    528: by_a_named_key,
    529: show_only,
    570: served_first,
}
