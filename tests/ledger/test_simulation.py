"""Simulation: a recorded afternoon under another binding - who would have won, who lost, and by which line."""

from __future__ import annotations

import pickle
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.ledger_tools.bills import PARTS, Bill, Energy
from meshnode.ledger_tools.simulation import Simulation, SimulationError, simulate
from meshnode.ledger_tools.simulation_form import HEADLINE, form
from meshnode.market.registry import installed_mechanisms
from meshnode.settlement import GRID_ACCOUNT, Posting, Reason
from meshnode.settlement.closing import PeriodClosed
from meshnode.settlement.dues import DuesPosted
from meshnode.store import StoreError
from meshnode.views import FILE as VIEWS_FILE
from meshnode.views import Views
from protocols.block import Parent, SignedRecord
from protocols.records import Order
from tests.effects.ledgers import ledger, text
from tests.ledger.afternoon import HOMES, an_afternoon
from tests.ledger.chain import PERIOD_S, Chain, period_s
from tests.ledger.governing import DEARER as GOVERNED_DEARER
from tests.ledger.governing import FOUNDED as GOVERNED
from tests.ledger.governing import adopt, propose, village
from tests.ledger.order_stories import ENERGY, EURO, buy, sell
from zencode.binding import binding_hash
from zencode.document import Document
from zencode.presets import preset
from zencode.reader import read, read_document
from zencode.terms import TermsError

MARKET = preset("neighbour_market")


@pytest.fixture(scope="module")
def afternoon() -> Chain:
    return an_afternoon()


@pytest.fixture(scope="module")
def place(afternoon: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return afternoon.store(tmp_path_factory.mktemp("afternoon"))


def other(*changes: tuple[str, str]) -> Document:
    """The neighbour market in other words."""
    text = MARKET
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return read_document(text)


def tried(place: Path, *changes: tuple[str, str], **options: object) -> Simulation:
    return simulate(place, other(*changes), installed_mechanisms(), **options)  # type: ignore[arg-type]


def gains(simulation: Simulation) -> dict[str, int]:
    return {one.name: one.gain_u for one in simulation.outcomes if one.gain_u}


DEARER = ("grid energy costs 0.30", "grid energy costs 0.40")
LOWER_CAP = ("refuse prices above 0.29", "refuse prices above 0.20")
NO_FEE = ("And charge a fee of 0.01 EUR/kWh on 'traded energy'\n", "")
NO_SPLIT = ("And split the 'network fee' 80 % to 'community fund' and 20 % to 'node operators'\n", "")


# --- the binding in force


def test_the_binding_in_force_gives_exactly_what_was_issued(afternoon: Chain, place: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = tried(place, progress=lambda done, of: seen.append((done, of)))
    assert found.steps == () and found.verdicts == () and found.holdings == () and gains(found) == {}
    assert found.in_force == found.old == found.new == binding_hash(read(MARKET))
    assert found.hashes == found.blocks == len(afternoon.blocks) and seen[-1] == (found.blocks, found.blocks)
    # The bills of the whole ledger are what it says that everybody owes and is owed.
    owed = {one.account: -one.new.total_u for one in found.outcomes if one.new.total_u}
    assert owed == afternoon.claims() and found.claims == len(owed) == 6
    assert (found.periods, found.final, found.from_s, found.to_s) == (5, 0, period_s(0), period_s(5))


def test_bills_are_those_that_members_see(afternoon: Chain, place: Path, tmp_path: Path) -> None:
    """Money and energy of each member are what the node's own views have added up, correction included."""
    views, machine = Views.open(tmp_path, afternoon.genesis), afternoon.replay()
    for block in afternoon.blocks:
        views.apply(block, machine.apply(block))
    views.close()
    paid: Counter[bytes] = Counter()
    energy: Counter[tuple[bytes, str]] = Counter()
    columns = ("own_wh", "neighbours_wh", "grid_wh", "sold_wh", "fed_in_wh")
    select = f"SELECT accounts.account, in_u, out_u, {', '.join(columns)} FROM lines JOIN accounts"
    with sqlite3.connect(tmp_path / VIEWS_FILE) as db:
        for owner, in_u, out_u, *wh in db.execute(f"{select} ON lines.account = accounts.number"):
            paid[owner] += out_u - in_u
            for name, one in zip(columns, wh, strict=True):
                energy[owner, name] += one
    members = [one for one in tried(place).outcomes if one.kind == "member"]
    assert len(members) == 3
    for one in members:
        assert one.old.total_u == paid[one.account]
        assert one.old.energy == Energy(*[energy[one.account, name] for name in columns])


def test_a_ledger_that_was_altered_is_refused(afternoon: Chain, tmp_path: Path) -> None:
    altered = an_afternoon()
    block = altered.blocks[3]
    altered.blocks[3] = altered.village.block(
        Parent.of(altered.blocks[2]),
        altered.leader,
        altered.term,
        block.records[:-1],
        head={"time_s": block.header.time_s, "state_height": 3, "state_hash": block.header.state_hash},
    )
    with pytest.raises(SimulationError, match="replaying the binding in force gives something else than was agreed"):
        tried(altered.store(tmp_path))


def test_a_damaged_row_is_named(afternoon: Chain, tmp_path: Path) -> None:
    place = afternoon.store(tmp_path)
    [file] = place.glob("*.sqlite")
    with sqlite3.connect(file) as db:
        db.execute("UPDATE log SET term = term + 1 WHERE height = 3")
    with pytest.raises(SimulationError, match=r"log row 3: checksum .*\n.*meshnode ledger verify"):
        tried(place)


def test_there_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no ledger here"):
        tried(tmp_path)


# --- another binding


def test_winners_and_losers_come_to_zero(place: Path) -> None:
    found = tried(place, DEARER, LOWER_CAP, NO_FEE, NO_SPLIT)
    assert sum(one.gain_u for one in found.outcomes) == 0 and gains(found)
    assert [one.kind for one in found.outcomes] == ["member"] * 3 + ["fund"] * 2 + ["grid"]
    assert found.names[GRID_ACCOUNT] == "grid" and "community fund" in found.names.values()
    for one in found.outcomes:
        for bill in (one.old, one.new):
            assert bill.total_u == bill.neighbours_u + bill.grid_u + bill.fees_u + bill.levies_u + bill.other_u
    # No fee: what members save is what the two funds lose, nobody else is touched by that line.
    fee = {found.names[owner]: gain for owner, gain in found.steps[2].gains}
    assert fee["community fund"] < 0 and fee["node operators"] < 0 and "grid" not in fee
    # Where the fee goes does not matter once there is none.
    assert found.steps[3].gains == ()


def test_a_dearer_grid_is_paid_by_who_needs_it(place: Path) -> None:
    """Mid-market is the middle: half of the ten cents goes to who sells to neighbours, the grid gets its own."""
    found = tried(place, DEARER)
    won = gains(found)
    [step] = found.steps
    [amendment] = step.amendments
    assert amendment.line == 1 + MARKET.split("\n").index("And grid energy costs 0.30 EUR/kWh")
    assert {found.names[owner]: gain for owner, gain in step.gains} == won
    assert won["carla"] > 0 > won["bela"] and won["anna"] < 0 and won["grid"] > 0


def test_each_line_has_its_part_and_together_they_are_all(place: Path) -> None:
    found = tried(place, DEARER, LOWER_CAP, NO_FEE, NO_SPLIT)
    total: Counter[str] = Counter()
    for step in found.steps:
        assert sum(gain for _, gain in step.gains) == 0
        for owner, gain in step.gains:
            total[found.names[owner]] += gain
    assert {name: gain for name, gain in total.items() if gain} == gains(found)
    assert [len(step.amendments) for step in found.steps] == [1, 1, 1, 1]
    lines = [one.line for step in found.steps for one in step.amendments]
    assert lines == sorted(lines)


def test_a_lower_cap_refuses_the_orders_above_it(afternoon: Chain, place: Path) -> None:
    found = tried(place, LOWER_CAP)
    bids = [record for block in afternoon.blocks for record in block.records if _is_dear(record)]
    assert found.differing == len(found.verdicts) == len(bids) == 3
    assert {one.record_id for one in found.verdicts} == {record.record_id for record in bids}
    assert {(one.old, one.new) for one in found.verdicts} == {(Verdict.ACCEPTED, Verdict.PRICE_ABOVE_CAP)}
    assert {(one.kind, found.names[one.account]) for one in found.verdicts} == {("Order", "anna")}
    assert found.steps[0].refused == 3


def test_sentences_that_only_together_make_a_binding_take_one_step(place: Path) -> None:
    """Fixed shares make a whole before and after, and not when only one of them has changed."""
    draft = other(*_shares(anna=50, bela=30, carla=20))
    found = tried(place, *_shares(anna=40, bela=40, carla=20), DEARER, against=draft.binding)
    assert [len(step.amendments) for step in found.steps] == [1, 2]
    assert {found.names[owner] for owner, _ in found.steps[1].gains} >= {"anna", "bela"}
    assert sum(one.gain_u for one in found.outcomes) == 0


def test_steps_are_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnode.ledger_tools.supposing.MAX_STEPS", 2)
    found = tried(place, DEARER, LOWER_CAP, NO_FEE, NO_SPLIT)
    assert [len(step.amendments) for step in found.steps] == [2, 2]
    assert sum(len(step.amendments) for step in found.steps) == 4
    assert gains(found) == gains(tried(place, DEARER, LOWER_CAP, NO_FEE, NO_SPLIT))


def test_what_is_paid_and_traded_on_the_ledger_differs_too(tmp_path: Path) -> None:
    """A token settles claims, and pays for energy tokens; above the lower cap these are not bought."""
    chain = an_afternoon()
    chain.block(chain.issue("anna", EURO, 3_000_000, 10**9, asset_kind=0, settles=1))
    chain.block(chain.issue("anna", ENERGY, 5_000, 10**9, asset_kind=1))
    chain.block(chain.transfer("anna", "bela", 1_000_000, EURO))
    chain.block(sell(chain, "anna", 1_000, 180), sell(chain, "anna", 1_000, 220))
    chain.block(buy(chain, "bela", 1_500, 250))
    chain.block(time_s=period_s(7) + 130)
    assert any(row.paid_u for _, row in chain.machine.state.pairs.items())
    place = chain.store(tmp_path)
    assert tried(place).claims
    found = tried(place, LOWER_CAP)
    held = {(found.names[one.account], one.asset): (one.old, one.new) for one in found.holdings}
    assert held["bela", ENERGY] == (1_500, 0) and held["anna", ENERGY] == (3_500, 5_000)
    assert sum(one.old - one.new for one in found.holdings if one.asset == EURO) == 0


# --- a part of it


def test_only_the_periods_that_are_asked_for(place: Path) -> None:
    whole = tried(place, DEARER)
    early = tried(place, DEARER, to_s=period_s(2))
    late = tried(place, DEARER, from_s=period_s(2))
    assert (early.periods, late.periods, whole.periods) == (2, 3, 5)
    assert late.from_s == early.to_s == period_s(2)
    together = Counter(gains(early))
    together.update(gains(late))
    assert dict(together) == gains(whole)


def test_the_new_binding_is_in_force_from_then_on_only(place: Path) -> None:
    """An order of the first period is judged as it was, one of the third by the new cap."""
    found = tried(place, LOWER_CAP, from_s=period_s(2))
    assert [one.height for one in found.verdicts] == [6]
    before = tried(place, from_s=period_s(2))
    assert [one.old for one in found.outcomes] == [one.old for one in before.outcomes]


def test_two_drafts_are_compared(place: Path) -> None:
    draft = other(DEARER).binding
    found = tried(place, DEARER, NO_FEE, NO_SPLIT, against=draft)
    assert found.old == binding_hash(draft) and found.in_force == binding_hash(read(MARKET))
    assert len(found.steps) == 2 and gains(found).keys() == {"anna", "bela", "community fund", "node operators"}
    plain = {one.name: one.new for one in tried(place, DEARER).outcomes}
    assert {one.name: one.old for one in found.outcomes} == plain


def test_a_ledger_on_which_the_binding_has_changed(tmp_path: Path) -> None:
    """Each of the two bindings is reproduced in its time; a comparison is with one of them, or with a named one."""
    chain = village(3)
    row = adopt(chain, propose(chain, "anna", GOVERNED_DEARER))
    registers = {home: [10_000, 500] for home in HOMES}
    first = period_of(chain.now_s)
    changed = period_of(row.from_s)
    for period in range(first, changed + 2):
        for home, import_wh, export_wh in (("anna", 400, 0), ("bela", 300, 0), ("carla", 0, 600)):
            registers[home][0] += import_wh
            registers[home][1] += export_wh
        said = [chain.reading(home, period, *registers[home]) for home in HOMES]
        chain.block(*said, time_s=period_s(period + 1) + 5)
    assert chain.machine.binding_hash() == row.binding
    place = chain.store(tmp_path)
    founded, dearer = read_document(GOVERNED), read_document(GOVERNED_DEARER)
    with pytest.raises(SimulationError, match=f"another binding came into force at {row.from_s} s, inside the range"):
        simulate(place, dearer, installed_mechanisms())
    # Before and after: nothing else than what was.
    for binding, span in ((founded, {"to_s": row.from_s}), (dearer, {"from_s": row.from_s})):
        found = simulate(place, binding, installed_mechanisms(), **span)
        assert found.in_force == found.new and gains(found) == {} and found.periods >= 2
    # What the change has cost: the binding of before, kept beyond its time.
    kept = simulate(place, founded, installed_mechanisms(), from_s=row.from_s)
    assert kept.in_force == row.binding and gains(kept)["anna"] > 0 > gains(kept)["grid"]
    whole = simulate(place, founded, installed_mechanisms(), against=dearer.binding)
    assert gains(whole)["anna"] > gains(kept)["anna"]


# --- bills of everything that can be owed


def test_every_reason_to_pay_has_its_part_of_a_bill() -> None:
    assert set(PARTS) == set(Reason) and {f"{part}_u" for part in PARTS.values()} < set(Bill.__struct_fields__)


BILLED = (
    "bills are issued every 1 hour",
    "value added tax of category 'S' is 19 %",
    "'bela' has value added tax category 'S'",
    "every shared kWh receives 0.11 EUR/kWh of incentive",
)
DUES = (
    "And charge 0.001 EUR in every settlement period",
    "When a bill is due\nThen charge 2.50 EUR every 1 hour",
    "When a meter is silent for 30 minutes\nThen pay back 1.50 EUR for each missed hour",
)


def an_hour_of_dues(*blocks: str) -> Chain:
    """Carla gives energy to anna and bela; then bela's meter is silent for more than two hours."""
    chain = ledger(*blocks, givens=BILLED)
    chain.block(*(chain.reading(home, -1, 0) for home in HOMES))
    for period in range(4):
        drawn, fed = {"anna": 400, "bela": 300, "carla": 0}, {"carla": 600}
        chain.block(
            *(
                chain.reading(home, period, drawn[home] * (period + 1), fed.get(home, 0) * (period + 1))
                for home in HOMES
            ),
            time_s=max(chain.now_s + 1, period_s(period + 1)),
        )
    for period in range(4, 14):
        others = [chain.reading(home, period, 1_600 * (home == "anna"), 2_400 * (home == "carla")) for home in HOMES]
        chain.block(others[0], others[2], time_s=max(chain.now_s + 1, period_s(period + 1)))
    return chain


def test_dues_taxes_and_incentives_are_on_the_bills(tmp_path: Path) -> None:
    """What the ledger says that everybody owes is what the bills add up to; a draft without fees costs the fund."""
    chain = an_hour_of_dues(*DUES)
    place = chain.store(tmp_path)
    posted = {one.reason for events in chain.events.values() for event in events for one in _postings(event)}
    assert posted >= {Reason.MEMBERSHIP, Reason.INCENTIVE, Reason.PAID_BACK, Reason.TAX}
    found = simulate(place, read_document(text(*DUES, givens=BILLED)), installed_mechanisms())
    assert gains(found) == {} and found.claims == len(chain.claims())
    bills = {one.name: one.old for one in found.outcomes}
    # Two fees of 2.50 or more, and 0.001 for each quarter.
    assert bills["anna"].fees_u >= 2_500_000 and bills["bela"].other_u < 0 < bills["bela"].levies_u
    without = simulate(place, read_document(text(*DUES[2:], givens=BILLED)), installed_mechanisms())
    changed = gains(without)
    fees_u = bills["anna"].fees_u
    assert changed["anna"] == changed["carla"] == fees_u and changed["community fund"] == -3 * fees_u
    # No fee, no tax on it.
    assert changed["bela"] > fees_u and sum(changed.values()) == 0


def test_what_is_only_shown_is_on_no_bill(tmp_path: Path) -> None:
    shown = "And show amounts and move no money"
    chain = an_hour_of_dues(shown)
    assert chain.claims() == {}
    place = chain.store(tmp_path)
    found = simulate(place, read_document(text(givens=BILLED)), installed_mechanisms())
    members = [one for one in found.outcomes if one.kind == "member"]
    assert [one.old.total_u for one in members] == [0, 0, 0]
    assert [one.old.energy for one in members] == [one.new.energy for one in members]
    assert gains(found)["anna"] < 0 < gains(found)["carla"]


def _postings(event: object) -> tuple[Posting, ...]:
    if isinstance(event, PeriodClosed):
        return event.settlement.postings
    return event.postings if isinstance(event, DuesPosted) else ()


def test_what_cannot_be_compared_is_refused(place: Path) -> None:
    with pytest.raises(SimulationError, match="readings of this ledger are of 900 s, the binding settles every 3600 s"):
        tried(place, ("settlement period is 15 minutes", "settlement period is 1 hour"))
    with pytest.raises(SimulationError, match="in EUR, the binding's in CHF"):
        tried(place, ("EUR", "CHF"))
    with pytest.raises(SimulationError, match="name an end after it"):
        tried(place, from_s=period_s(3), to_s=period_s(3))
    with pytest.raises(TermsError, match="lowest price is above the highest"):
        tried(place, ("refuse prices below 0.08", "refuse prices below 0.30"))


# --- told


def test_the_form_is_what_its_text_says(place: Path) -> None:
    found = form(tried(place, DEARER, LOWER_CAP), "it")
    assert found["headline"] == HEADLINE and found["reproduced"] == {"state_hashes": 10, "claims": 6}
    assert sum(one["gain_u"] for one in found["accounts"]) == 0
    assert found["steps"][0]["changes"][0]["added"] == ["Dato che l'energia di rete costa 0,40 EUR/kWh"]
    assert found["records_listed"][0]["new"] == {
        "verdict": "PRICE_ABOVE_CAP",
        "meaning": SENTENCES[Verdict.PRICE_ABOVE_CAP],
    }
    bill = set(Bill.__struct_fields__) - {"energy"} | set(Energy.__struct_fields__) | {"total_u"}
    assert all(set(one[side]) == bill for one in found["accounts"] for side in ("old", "new"))


def test_it_goes_through_a_process_and_back(place: Path) -> None:
    """So that a page can have it made by a worker."""
    found = tried(place, DEARER)
    assert pickle.loads(pickle.dumps(found)) == found


def period_of(time_s: int) -> int:
    """The period that a time lies in, counted from the genesis."""
    return (time_s - period_s(0)) // PERIOD_S


def _shares(**percents: int) -> tuple[tuple[str, str], ...]:
    """What makes production shared by fixed shares."""
    role = "And there is a role 'auditor'\n"
    said = "".join(f"And '{home}' has an allocation share of {percent} %\n" for home, percent in percents.items())
    ways = "share production at the mid-market rate", "share production by fixed allocation shares"
    return (role, role + said), ways


def _is_dear(signed: SignedRecord) -> bool:
    return isinstance(signed.record, Order) and signed.record.price_u_kwh > 200_000
