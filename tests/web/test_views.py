"""Views: what screens show is what the ledger did, whatever happens to the file."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import trio

from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import GRID_ACCOUNT, fund_account
from meshnode.views import FILE, Views, ViewsError, schema
from protocols.records import (
    AssetIssue,
    Join,
    KeyChange,
    Leave,
    MemberEntry,
    Transfer,
    account_id_of,
    join_request_bytes,
)
from tests.protocols.keys import key_pair
from tests.protocols.village import Village
from tests.web.street import MIDNIGHT_S, PERIOD_S, Counted, Street

FIRST = MIDNIGHT_S
EVER = (0, 1 << 40)
# SQLite's usual size of a page.
PAGE_BYTES = 4096
SOURCES = ("own_wh", "neighbours_wh", "grid_wh", "consumption_wh")


@pytest.fixture
def street(tmp_path: Path):
    street = Street(tmp_path)
    yield street
    street.views.close()


def everything(views: Views) -> list[object]:
    """All that views answer, for comparing two of them."""
    blocks = views.recent_blocks(5000)
    return [
        blocks,
        [views.records_of_block(block.height) for block in blocks],
        views.periods(*EVER),
        views.lines(None, *EVER),
        views.trades(5000),
        views.orders(None),
        views.postings(),
        views.movements(),
        views.pairs(None, *EVER),
        views.contracts(),
        views.report(),
        views.height,
    ]


def test_a_day_on_screen_adds_up_to_the_ledger(tmp_path: Path) -> None:
    street = Street(tmp_path, homes=5)
    street.live_through(96)
    views, machine = street.views, street.machine
    lines = views.lines(None, *EVER)
    assert len(lines) == 96 * 5
    assert all(line.own_wh + line.neighbours_wh + line.grid_wh == line.consumption_wh for line in lines)
    assert all(line.sold_wh + line.fed_in_wh == line.export_wh for line in lines)
    assert all(line.import_wh == line.neighbours_wh + line.grid_wh for line in lines)
    # Lines, days, periods, report: one sum, whichever way it is asked for.
    for name in SOURCES:
        total = sum(getattr(line, name) for line in lines)
        assert total > 0
        assert total == getattr(views.day(None, *EVER), name)
        assert total == sum(getattr(views.day(street.account(home), *EVER), name) for home in street.homes)
        assert total == sum(getattr(period, name) for period in views.periods(*EVER))
        assert total == sum(row[name] for period in views.report()["periods"] for row in period["members"].values())
    # Money: the postings give every claim of the ledger, the grid's and the funds' too.
    claims: Counter[str] = Counter()
    for posting in views.postings():
        claims[posting.debit] -= posting.amount_u
        claims[posting.credit] += posting.amount_u
    assert {account: amount for account, amount in claims.items() if amount} == {
        account.hex(): claim.amount_u for account, claim in machine.state.claims.items()
    }
    assert sum(claims.values()) == 0
    for home in street.homes:
        day = views.day(street.account(home), *EVER)
        assert day.in_u - day.out_u == claims[street.account(home).hex()]
    assert views.trades(5000)
    street.views.close()


def test_each_trade_shows_what_the_meters_confirmed(street: Street) -> None:
    street.begin()
    # Bela bids for 400 Wh, but needs 250; carla offers 300 and has them.
    bid = street.order("bela", "buy", FIRST, 400, 240_000)
    offer = street.order("carla", "sell", FIRST, 300, 130_000)
    street.settle(FIRST, {"anna": Counted(50), "bela": Counted(250), "carla": Counted(0, 300, 320)}, bid, offer)
    (trade,) = street.views.trades(10)
    assert (trade.buyer_name, trade.seller_name) == ("bela", "carla")
    assert (trade.energy_wh, trade.delivered_wh) == (300, 250)
    assert trade.buy_order == bid.record_id.hex()
    assert {row.side: (row.filled_wh, row.energy_wh, row.state) for row in street.views.orders(None)} == {
        "buy": (300, 400, "closed"),
        "sell": (300, 300, "closed"),
    }
    (period,) = street.views.periods(*EVER)
    assert (period.traded_wh, period.price_u_kwh) == (300, trade.price_u_kwh)
    report = street.views.report()
    assert (report["readings"], report["orders"], report["trades"]) == (6, 2, 1)
    assert (report["periods"][0]["price_u_kwh"], report["periods"][0]["corrections"]) == (trade.price_u_kwh, 0)
    reasons = [(row.debit_name, row.credit_name, row.reason, row.trade) for row in street.views.postings()]
    assert ("bela", "carla", "trade", 0) in reasons
    assert ("bela", "carla", "buyer_short", 0) in reasons
    assert ("bela", "community fund", "fee", None) in reasons
    assert street.views.trades(10, street.account("anna")) == []


def test_the_report_counts_what_is_there_and_a_corrected_reading_once(street: Street) -> None:
    street.begin()
    bid, offer = (
        street.order("bela", "buy", FIRST, 400, 240_000),
        street.order("carla", "sell", FIRST, 300, 130_000),
    )
    street.settle(FIRST, {"anna": Counted(50), "bela": Counted(250), "carla": Counted(0, 300, 320)}, bid, offer)
    street.block(FIRST + 2 * PERIOD_S, street.reading("anna", FIRST, Counted(1), version=1))
    counted = {name: number for name, number in street.views.report().items() if name != "periods"}
    with sqlite3.connect(street.directory / FILE) as db:
        assert counted == {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in counted}
        assert db.execute("SELECT version FROM readings ORDER BY version DESC").fetchone() == (1,)
    assert counted == {"readings": 6, "orders": 2, "trades": 1}


def test_orders_are_open_then_cancelled_or_closed(street: Street) -> None:
    street.begin()
    kept = street.order("anna", "buy", FIRST, 100, 200_000)
    given_up = street.order("anna", "buy", FIRST, 200, 210_000)
    later = street.order("bela", "sell", FIRST + PERIOD_S, 300, 150_000)
    street.block(FIRST + 10, kept, given_up, later)
    street.block(FIRST + 20, street.cancel("anna", given_up))
    states = {row.energy_wh: row.state for row in street.views.orders(None)}
    assert states == {100: "open", 200: "cancelled", 300: "open"}
    assert [row.energy_wh for row in street.views.orders(street.account("anna"), only_open=True)] == [100]
    street.settle(FIRST, {home: Counted(100) for home in street.homes})
    states = {row.energy_wh: row.state for row in street.views.orders(None)}
    assert states == {100: "closed", 200: "cancelled", 300: "open"}


def test_a_late_reading_corrects_line_period_and_money(street: Street) -> None:
    street.begin()
    street.settle(FIRST, {home: Counted(100) for home in street.homes})
    second = FIRST + PERIOD_S
    # Carla's reading is missing: after the grace the period settles with an estimate.
    street.settle(second, {"anna": Counted(100), "bela": Counted(80)})
    street.block(second + PERIOD_S + 120)
    period = street.views.periods(second, second + 1)[0]
    assert (period.estimated, period.corrections, period.final) == (1, 0, False)
    assert period.completeness_ppm == 666_666
    street.block(second + PERIOD_S + 500, street.reading("carla", second, Counted(0, 60, 90)))
    period = street.views.periods(second, second + 1)[0]
    assert (period.estimated, period.corrections, period.completeness_ppm) == (0, 1, 1_000_000)
    line = next(row for row in street.views.lines(street.account("carla"), second, second + 1))
    assert (line.own_wh, line.sold_wh, line.consumption_wh, line.quality) == (30, 60, 30, 3)
    entries = Counter(row.entry for row in street.views.postings(start_s=second))
    assert entries["reversal"] and entries["replacement"]
    for home in street.homes:
        account = street.account(home)
        day, claim = street.views.day(account, *EVER), street.machine.state.claims.get(account)
        assert day.in_u - day.out_u == (claim.amount_u if claim else 0)
    # When the time for corrections has passed the period is final, on every line too.
    street.block(second + 3 * 86400)
    assert street.views.periods(second, second + 1)[0].final
    assert all(row.final for row in street.views.lines(None, second, second + 1))


def test_the_meters_registers_and_what_a_period_added(street: Street) -> None:
    street.begin()
    street.settle(FIRST, {home: Counted(120, 30, 200) for home in street.homes})
    before, first = street.views.readings(street.meter("anna"), *EVER)
    assert (before.import_wh, before.period_import_wh) == (4_000_000, None)
    assert (first.import_wh, first.period_import_wh, first.period_export_wh) == (4_000_120, 120, 30)
    assert (first.name, first.produced_wh, first.power_w) == ("anna", 2_000_200, 360)


def test_a_record_and_its_verdict(street: Street) -> None:
    street.begin()
    order = street.order("anna", "buy", FIRST, 100, 200_000)
    dear = street.order("anna", "buy", FIRST, 100, 900_000)
    street.block(FIRST + 10, order, dear)
    street.block(FIRST + 20, order)
    found = street.views.record(order.record_id)
    assert found is not None
    assert (found.height, found.position, found.kind, found.name) == (2, 0, "Order", "anna")
    assert found.summary["energy_wh"] == 100
    # The order stands in two blocks; what counts is where it took effect.
    assert street.views.verdict(order.record_id) == Verdict.ACCEPTED
    assert street.views.verdict(dear.record_id) == Verdict.PRICE_ABOVE_CAP
    assert [row.verdict for row in street.views.records_of_block(3)] == [Verdict.REPEATED]
    assert street.views.verdict(bytes(32)) is None
    assert street.views.record(bytes(32)) is None
    head = street.views.recent_blocks(1)[0]
    assert (head.height, head.leader, head.records, head.accepted) == (3, "anna", 1, 0)
    assert [row.height for row in street.views.recent_blocks(10, below=3)] == [2, 1]


@pytest.mark.parametrize("twice", [1, 2])
def test_a_block_applied_twice_changes_nothing(street: Street, twice: int) -> None:
    street.live_through(6)
    before = everything(street.views)
    for block, events in street.chain[-twice:]:
        street.views.apply(block, events)
    assert everything(street.views) == before


def test_a_deleted_file_is_made_again_by_replaying(street: Street) -> None:
    street.live_through(8)
    before = everything(street.views)
    street.views.close()
    (street.directory / FILE).unlink()
    street.views = again = Views.open(street.directory, street.village.genesis)
    assert again.height == 0
    machine = street.new_machine()
    for block, _ in street.chain:
        again.apply(block, machine.apply(block))
    assert everything(again) == before


def test_views_that_are_behind_go_on_where_they_stopped(street: Street) -> None:
    street.live_through(4)
    expected = everything(street.views)
    street.views.close()
    half = len(street.chain) // 2
    (street.directory / FILE).unlink()
    views = Views.open(street.directory, street.village.genesis)
    for block, events in street.chain[:half]:
        views.apply(block, events)
    views.close()
    street.views = views = Views.open(street.directory, street.village.genesis, ledger_height=len(street.chain))
    assert views.height == half
    for block, events in street.chain[half:]:
        views.apply(block, events)
    assert everything(views) == expected


@pytest.mark.parametrize("harm", ["ahead", "version", "chain", "torn", "empty", "no tables"])
def test_a_file_that_does_not_fit_is_begun_anew(street: Street, harm: str) -> None:
    street.live_through(2)
    street.views.close()
    path, genesis, height = street.directory / FILE, street.village.genesis, street.machine.height
    if harm == "ahead":
        height -= 1
    elif harm == "version":
        with sqlite3.connect(path) as db:
            db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    elif harm == "chain":
        genesis = msgspec.structs.replace(genesis, community="Borgo Luna")
    elif harm == "torn":
        path.write_bytes(b"not a database, " * 1000)
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "no tables":
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE reflects")
    street.views = Views.open(street.directory, genesis, height)
    assert street.views.height == 0
    assert street.views.periods(*EVER) == []
    if harm != "chain":
        for block, events in street.chain[:height]:
            street.views.apply(block, events)
        assert street.views.height == height


def test_a_missing_block_and_another_block_are_refused(street: Street) -> None:
    street.live_through(2)
    block, events = street.chain[2]
    other = Street(street.directory / "other", 3, community="Borgo Luna")
    other.begin()
    other.views.close()
    with pytest.raises(ViewsError, match="reflects another block at height 1"):
        street.views.apply(*other.chain[0])
    street.views.close()
    (street.directory / FILE).unlink()
    street.views = Views.open(street.directory, street.village.genesis)
    with pytest.raises(ViewsError, match="got block 3, expected 1; feed the blocks between"):
        street.views.apply(block, events)
    assert street.views.height == 0


def test_a_block_is_entered_whole_or_not_at_all(street: Street) -> None:
    street.live_through(2)
    before = everything(street.views)
    block = street.next_block(
        street.machine.time_s + 10, street.order("anna", "buy", street.machine.next_period_s, 1, 200_000)
    )
    # The machine did not apply this one: an event of something unknown breaks the entry half way.
    with pytest.raises(KeyError):
        street.views.apply(block, (*street.machine.apply(block), object()))
    assert everything(street.views) == before


def test_damage_that_shows_later_leads_to_a_new_file(street: Street) -> None:
    """A card that returns junk where the blocks begin: the next block finds it, the next start mends it."""
    street.live_through(4)
    street.views.close()
    path = street.directory / FILE
    with closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'blocks'").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * PAGE_BYTES : root * PAGE_BYTES] = b"\xa5" * PAGE_BYTES
    path.write_bytes(content)
    street.views = Views.open(street.directory, street.village.genesis, street.machine.height)
    assert street.views.height == street.machine.height
    with pytest.raises(ViewsError, match=r"damaged .* and removed; start the node again"):
        street.block(street.machine.time_s + 10)
    street.views.close()
    street.views = Views.open(street.directory, street.village.genesis, street.machine.height)
    assert street.views.height == 0


def test_a_directory_that_is_not_there_is_named(tmp_path: Path, street: Street) -> None:
    with pytest.raises(ViewsError, match=r"missing/views.sqlite: unable to open"):
        Views.open(tmp_path / "missing", street.village.genesis)


async def test_questions_are_answered_while_blocks_are_entered(street: Street) -> None:
    street.begin()
    answers: list[tuple[int, int]] = []

    async def ask() -> None:
        for _ in range(60):
            period_count = await trio.to_thread.run_sync(lambda: len(street.views.periods(*EVER)))
            report_count = await trio.to_thread.run_sync(lambda: len(street.views.report()["periods"]))
            answers.append((period_count, report_count))

    def settle_some() -> None:
        for number in range(20):
            street.settle(FIRST + number * PERIOD_S, {home: Counted(100) for home in street.homes})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        nursery.start_soon(trio.to_thread.run_sync, settle_some)
    assert len(street.views.periods(*EVER)) == 20
    # Whole blocks only, and never backwards: a later question sees at least as much.
    assert all(periods <= reports for periods, reports in answers)


def test_answers_are_bounded(street: Street) -> None:
    street.live_through(5)
    assert len(street.views.periods(*EVER, limit=2)) == 2
    assert [row.start_s for row in street.views.periods(*EVER, limit=2)] == [FIRST, FIRST + PERIOD_S]
    newest = street.views.periods(*EVER, limit=2, newest=True)
    assert [row.start_s for row in newest] == [FIRST + 3 * PERIOD_S, FIRST + 4 * PERIOD_S]
    assert street.views.recent_blocks(-1) == []
    numbers = [row.number for row in street.views.postings(limit=3)]
    assert numbers == sorted(numbers, reverse=True)
    assert all(row.number < numbers[-1] for row in street.views.postings(below=numbers[-1]))


def test_closed_views_say_so(street: Street) -> None:
    street.views.close()
    with pytest.raises(ViewsError, match="closed"):
        street.views.report()


def test_funds_and_grid_have_names(street: Street) -> None:
    street.live_through(50)
    names = {row.credit: row.credit_name for row in street.views.postings()}
    assert names[GRID_ACCOUNT.hex()] == "grid"
    assert names[fund_account("node operators").hex()] == "node operators"


def test_assets_keys_and_leaving(tmp_path: Path) -> None:
    """Records of administrators: a token, a transfer, a newcomer, a new key, a farewell."""
    village = Village(3)
    members = tuple(
        member
        if member.name != "anna"
        else MemberEntry(
            name="anna",
            roles=("administrator",),
            member_key=member.member_key,
            device_key=member.device_key,
            meters=member.meters,
        )
        for member in village.genesis.members
    )
    street = Street(tmp_path, 3, members=members)
    street.begin()
    entry = MemberEntry(name="hanna", roles=("prosumer",), member_key=key_pair("hanna").public)
    proof = key_pair("hanna").sign(join_request_bytes(street.village.chain_id, bytes(16), entry))
    hanna = account_id_of(entry.member_key)
    street.block(
        FIRST + 10,
        street.say("anna", AssetIssue, asset="SUN", asset_kind=2, cap=1000, amount=100),
        street.say("anna", Transfer, to=street.account("bela"), asset="SUN", amount=7, memo=b"x" * 500),
        street.say("anna", Join, member=entry, invitation=bytes(16), proof=proof),
    )
    assert [row.verdict for row in street.views.records_of_block(2)] == [0, 0, 0]
    memo = street.views.records_of_block(2)[1].summary["memo"]
    assert memo["bytes"] == 500
    street.block(
        FIRST + 20, street.say("hanna", KeyChange, old_key_id=key_pair("hanna").key_id, new_key=key_pair("new").public)
    )
    street.block(
        FIRST + 30, street.village.sign(Leave(nonce=1, valid_until_s=FIRST + 900, account=hanna), key_pair("new"))
    )
    last = street.views.records_of_block(4)[0]
    assert (last.name, last.kind, last.verdict) == ("hanna", "Leave", 0)
    street.views.close()
