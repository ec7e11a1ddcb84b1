"""Billing on screen: what billing periods and shared hours came to, as the views and the endpoints tell it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from meshnode.views import Views
from tests.ledger.billing import GOLDEN, Village, italian, spanish
from tests.ledger.chain import account, period_s

EVER = (0, 1 << 40)


def views_of(village: Village, place: Path) -> Views:
    """The views of a village's ledger so far."""
    chain = village.chain
    views = Views.open(place, chain.genesis)
    for block in chain.blocks:
        views.apply(block, chain.events[block.header.height])
    return views


def test_a_billing_period_is_a_row_for_each_member_and_postings_give_every_claim(tmp_path: Path) -> None:
    village = spanish()
    village.quarter(**GOLDEN)
    village.quarter(anna=(100, 0))
    village.quarter(carla=(50, 0))
    village.late("carla", 3, (140, 0), version=1)
    views = views_of(village, tmp_path)
    rows = {row.name: row for row in views.billing_periods()}
    assert rows.keys() == {"anna", "bela", "carla", "dora"}
    carla = rows["carla"]
    assert (carla.first_s, carla.until_s, carla.entry, carla.final) == (period_s(1), period_s(4), 1, False)
    # She bought 40 instead of 50, worth 12 instead of 15: of her 24 so much more is lost.
    assert (carla.bought_u, carla.surplus_u, carla.compensated_u, carla.lost_u) == (12_000, 24_000, 12_000, 12_000)
    assert [row.name for row in views.billing_periods(account("bela"))] == ["bela"]
    assert not views.billing_periods(below_s=period_s(1))
    claims: Counter[str] = Counter()
    for posting in views.postings():
        claims[posting.debit] -= posting.amount_u
        claims[posting.credit] += posting.amount_u
    assert {one: amount for one, amount in claims.items() if amount} == {
        one.hex(): amount for one, amount in village.chain.claims().items()
    }
    lost = [(row.debit_name, row.amount_u, row.entry) for row in views.postings() if row.reason == "lost"]
    assert sorted(lost) == [
        ("anna", 2_000, "first"),
        ("carla", 9_000, "first"),
        ("carla", 12_000, "replacement"),
        ("grid", 9_000, "reversal"),
    ]
    views.close()


def test_a_shared_hour_names_who_received_its_incentive(tmp_path: Path) -> None:
    village = italian()
    village.quarter(dora=(0, 800))
    village.quarter(anna=(300, 0))
    views = views_of(village, tmp_path)
    (hour,) = views.shared_hours(period_s(4), period_s(5))
    assert (hour.substation, hour.shared_wh, hour.incentive_u) == ("AC1", 300, 33_000)
    fund = next(name for name in hour.parts if name not in ("anna", "dora"))
    assert hour.parts == {"anna": 14_850, "dora": 14_850, fund: 3_300}
    assert sum(row.incentive_u for row in views.billing_periods()) == 0, "the billing period still runs"
    assert len(views.shared_hours(*EVER)) == 1
    views.close()
