"""Solar club: a package of somebody else's adds a statement and a mechanism, in the machine and in a real node."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
import pytest

from meshnode.amounts import value
from meshnode.founding import DEFAULT_DRIFT_S
from meshnode.keys import verify
from meshnode.ledger.governance_rows import ADOPTED, UNFIT
from meshnode.ledger.verdicts import Verdict
from meshnode.ledger_tools.simulation import simulate
from meshnode.ledger_tools.simulation_form import form
from meshnode.loopback import Home as Household
from meshnode.loopback import found_homes
from meshnode.machine import Lacking, Machine
from meshnode.market import MechanismError, Mechanisms
from meshnode.market.mechanism import ability_of
from meshnode.market.registry import installed_mechanisms
from meshnode.plugins import GROUP, Charge, Effect, Home, PeriodFacts, install, load
from meshnode.replaying import replay
from meshnode.rules import hindrances
from meshnode.settlement import Posting, Reason, fund_account
from meshnode.settlement.additions import MAX_CHARGES, AdditionError, Chosen, charges
from meshnode.settlement.closing import PeriodClosed, PeriodCorrected
from meshnode.store import Store, microgrids, read_genesis
from protocols.records import CLOCK_DEMONSTRATION, Clock, Genesis, read_as
from tests.cli.shell import PATIENCE_S, ROOT, complaint, running, spawn
from tests.ledger.chain import Chain, account, period_s
from tests.ledger.governing import DEARER, FOUNDED, HOURLY, MECHANISMS, adopt, declare, proposal, propose, village
from tests.plugins.site import installed_here, lay_out
from tests.protocols.village import HOMES
from zencode.additions import enroll
from zencode.binding import PackageMissing, pins
from zencode.languages import LANGUAGES
from zencode.packages import Package, PackageError, enrolled
from zencode.presets import preset
from zencode.reader import read, read_document

BONUS = "pay a sunshine bonus of 0.02 EUR/kWh from 'sunshine fund'"
SHARED = "Then share production at the mid-market rate\n"
AUCTION = "match orders in a double auction at one price"
MARKET = preset("neighbour_market")
WITH_BONUS = MARKET.replace(SHARED, f"{SHARED}And {BONUS}\n")
WITH_BOTH = WITH_BONUS.replace(AUCTION, "match orders at what sellers ask")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package, as installed."""
    return lay_out(tmp_path_factory.mktemp("site"))


@pytest.fixture
def club(site: Path) -> Iterator[Mechanisms]:
    """The package is installed here; what this node then supports."""
    with installed_here(site):
        yield install()


def afternoon(binding: str, mechanisms: Mechanisms) -> Chain:
    """One period: bela sells 500 Wh and gives 100 more, anna and carla take them; carla's reading is corrected."""
    chain = Chain(binding=binding, mechanisms=mechanisms)
    chain.block(*(chain.reading(home, -1, 10_000, 500) for home in ("anna", "bela", "carla")))
    chain.block(chain.bid("anna", 0, 500, 200_000), chain.offer("bela", 0, 500, 100_000))
    chain.block(chain.reading("anna", 0, 10_500, 500), chain.reading("bela", 0, 10_000, 1_100), time_s=period_s(1) + 20)
    chain.block(time_s=period_s(1) + 130)
    chain.block(chain.reading("carla", 0, 10_100, 500), time_s=period_s(1) + 200)
    return chain


def bonuses(postings: tuple[Posting, ...]) -> list[tuple[bytes, bytes, int]]:
    return [(one.debit, one.credit, one.amount_u) for one in postings if one.reason is Reason.PACKAGE]


# --- in the machine


def test_a_bonus_is_paid_for_what_was_given_and_corrected_with_it(club: Mechanisms) -> None:
    """Carla's reading is late: first only 500 Wh of bela's find a neighbour, then 600."""
    chain = afternoon(WITH_BONUS, club)
    events = [event for height in sorted(chain.events) for event in chain.events[height]]
    [closed] = [event for event in events if isinstance(event, PeriodClosed)]
    [corrected] = [event for event in events if isinstance(event, PeriodCorrected)]
    fund, bela = fund_account("sunshine fund"), account("bela")
    assert bonuses(closed.settlement.postings) == [(fund, bela, value(20_000, 500))]
    assert bonuses(corrected.postings) == [(bela, fund, value(20_000, 500)), (fund, bela, value(20_000, 600))]
    assert chain.claims()[fund] == -12_000 and sum(chain.claims().values()) == 0
    without = afternoon(MARKET, club).claims()
    changes = {who: sum_u - without.get(who, 0) for who, sum_u in chain.claims().items()}
    assert {who: change for who, change in changes.items() if change} == {fund: -12_000, bela: 12_000}


def test_its_mechanism_clears_the_orders(club: Mechanisms) -> None:
    """Anna bids 0.20, bela asks 0.10: in the catalogue's auction they meet half way, here bela gets what it asked."""
    for binding, price_u_kwh in ((MARKET, 150_000), (WITH_BOTH, 100_000)):
        chain = afternoon(binding, club)
        [closed] = [one for events in chain.events.values() for one in events if isinstance(one, PeriodClosed)]
        assert [(trade.energy_wh, trade.price_u_kwh) for trade in closed.trades] == [(500, price_u_kwh)]


def test_without_the_package_a_machine_refuses_the_genesis(club: Mechanisms) -> None:
    chain = afternoon(WITH_BOTH, club)
    enroll([])
    with pytest.raises(PackageMissing, match="statements of solar-club version 1, which this node lacks; it has: none"):
        chain.replay()
    # With the statements, and without the mechanism that one of them means.
    load(EntryPoint("solar-club", "solar_club:PACKAGE", GROUP))
    install()
    with pytest.raises(MechanismError, match="pay-as-asked version 1 is not installed on this node"):
        Machine(chain.genesis, chain.chain_id, _without_it(), verify)
    assert hindrances(read(WITH_BOTH), _without_it()) == ("match orders at what sellers ask",)
    assert hindrances(read(WITH_BOTH), club) == ()


def test_it_is_tried_on_a_recorded_ledger(club: Mechanisms, tmp_path: Path) -> None:
    place = afternoon(MARKET, club).store(tmp_path)
    found = form(simulate(place, read_document(WITH_BONUS), club))
    [step] = found["steps"]
    assert step["changes"][0]["added"] == [f"Then {BONUS}"]
    assert {one["name"]: one["gain_u"] for one in step["gains"]} == {"bela": 12_000, "sunshine fund": -12_000}


def test_it_speaks_the_languages_of_the_catalogue(club: Mechanisms) -> None:
    assert enrolled() == (("solar-club", 1),) and pins(read(WITH_BOTH)) == enrolled()
    assert ("pay-as-asked", 1) in club.supported()
    assert set(LANGUAGES) <= {"en", "it", "es", "de"}


# --- put to the vote


def test_a_binding_with_a_package_is_voted_on_and_begins_where_it_is_installed(club: Mechanisms) -> None:
    """A node without the package follows the vote to the same state, and stops before the block that begins it."""
    chain = village(mechanisms=club)
    chain.block(*(declare(chain, home, mechanisms=club.declared()) for home in HOMES[:3]))
    text = FOUNDED.replace(SHARED, f"{SHARED}And {BONUS}\n")
    made = propose(chain, "anna", text, mechanisms=(*MECHANISMS, ability_of(("solar-club", 1))))
    row = adopt(chain, made)
    assert row.status == ADOPTED
    enroll([])
    without = Machine(chain.genesis, chain.chain_id, installed_mechanisms(), verify)
    for block in chain.blocks:
        without.apply(block)
    assert without.state_hash() == chain.machine.state_hash()
    install()
    chain.block(time_s=row.from_s + 5)
    assert chain.machine.rules(row.from_s).packages == (("solar-club", 1),)
    enroll([])
    with pytest.raises(Lacking, match="it lacks statements of solar-club version 1"):
        without.apply(chain.blocks[-1])


def test_a_proposal_says_which_packages_it_needs(club: Mechanisms) -> None:
    """Else a node that has it and one that lacks it would judge otherwise."""
    chain = village(mechanisms=club)
    made = propose(chain, "anna", FOUNDED.replace(SHARED, f"{SHARED}And {BONUS}\n"))
    assert chain.say(made) == Verdict.BINDING_UNFIT
    enroll([])
    again = Machine(chain.genesis, chain.chain_id, installed_mechanisms(), verify)
    for block in chain.blocks:
        again.apply(block)
    assert again.state_hash() == chain.machine.state_hash()


def test_what_some_nodes_could_tell_is_not_judged_before_all_can(club: Mechanisms) -> None:
    """The binding would settle hours instead of quarters, and says so in a tree that only some nodes can read."""
    chain = village(mechanisms=club)
    chain.block(*(declare(chain, home, mechanisms=club.declared()) for home in HOMES[:3]))
    text = HOURLY.replace(SHARED, f"{SHARED}And {BONUS}\n")
    needed = (*MECHANISMS, ability_of(("solar-club", 1)))
    made = propose(chain, "anna", text, mechanisms=needed)
    row = adopt(chain, made)
    assert row.status == ADOPTED
    with_it = chain.machine.state_hash()
    enroll([])
    without = Machine(chain.genesis, chain.chain_id, installed_mechanisms(), verify)
    for block in chain.blocks:
        without.apply(block)
    assert without.state_hash() == with_it
    # When it is to begin every node that goes on has the package; all of them find it unfit.
    install()
    chain.block(time_s=row.from_s + 5)
    assert proposal(chain, made).status == UNFIT
    assert chain.machine.rules(chain.now_s).packages == ()


def test_where_the_binding_in_force_has_the_package_everybody_judges_at_once(club: Mechanisms) -> None:
    chain = village(mechanisms=club, binding=FOUNDED.replace(SHARED, f"{SHARED}And {BONUS}\n"))
    needed = (*MECHANISMS, ability_of(("solar-club", 1)))
    hourly = propose(chain, "anna", HOURLY.replace(SHARED, f"{SHARED}And {BONUS}\n"), mechanisms=needed)
    assert chain.say(hourly) == Verdict.OTHER_GROUND
    dearer = propose(chain, "anna", DEARER.replace(SHARED, f"{SHARED}And {BONUS}\n"), mechanisms=needed)
    assert chain.say(dearer) == Verdict.ACCEPTED


def test_an_editor_is_answered_with_it(club: Mechanisms) -> None:
    pytest.importorskip("pygls", reason="needs the packages for editors: pip install 'meshnode[editor]'")
    from pygls.workspace import TextDocument

    from meshnode.language_server import diagnostics, server

    def mistakes() -> list[str]:
        found = diagnostics(TextDocument("file:///club.zen", WITH_BONUS), examples=True)
        return [one.message for one in found if "no such sentence" in one.message]

    enroll([])
    assert len(mistakes()) == 1
    server()
    assert mistakes() == []


# --- what a package may not do


class Wrong:
    """An effect that says whatever it is told to."""

    def __init__(self, *said: Charge) -> None:
        self._said = said

    def charges(self, number: int, slots: tuple[Any, ...], period: PeriodFacts) -> tuple[Charge, ...]:
        return self._said


ANNA, FUND = b"a" * 16, fund_account("fund")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((Charge(ANNA, b"s" * 16, 5),), "is neither a member nor a fund"),
        ((Charge(b"grid".ljust(16, b"\0"), ANNA, 5),), "is neither a member nor a fund"),
        ((Charge(ANNA, ANNA, 5),), "pays itself"),
        ((Charge(ANNA, FUND, -1),), "a payment of -1 u, expected 0 to"),
        ((Charge(ANNA, FUND, 10**15 + 1),), "expected 0 to 1000000000000000"),
        ((Charge(ANNA, FUND, 1.5),), "a payment of 1.5 u"),  # type: ignore[arg-type]
        ((Charge(ANNA, FUND, 1),) * (MAX_CHARGES + 1), "more than 8 payments in a period of 1 members"),
    ],
)
def test_money_that_a_package_cannot_move(said: tuple[Charge, ...], message: str) -> None:
    facts = PeriodFacts(0, 900, (Home(ANNA, 0, 1, 2, 3, 0, 0),), 300_000, 80_000)
    with pytest.raises(AdditionError, match=f"package odd version 3, statement 7: .*{message}"):
        charges(Chosen("odd", 3, 7, (), 900, Wrong(*said)), facts)
    assert charges(Chosen("odd", 3, 7, (), 900, Wrong(Charge(ANNA, FUND, 0))), facts) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effect": None}, "«sunshine bonus»: does nothing; it needs an effect, or chooses a mechanism"),
        ({"mechanisms": {}}, r"«pay as asked»: stands under \(302,\)"),
    ],
)
def test_a_package_whose_statements_do_nothing_is_refused(
    club: Mechanisms, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    import solar_club  # type: ignore[import-not-found]

    monkeypatch.setattr(solar_club, "PACKAGE", msgspec.structs.replace(solar_club.PACKAGE, **change))
    with pytest.raises(PackageError, match=message):
        load(EntryPoint("solar-club", "solar_club:PACKAGE", GROUP))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:PACKAGE", "cannot be imported: No module named"),
        ("solar_club:MISSING", "cannot be imported: .* has no attribute 'MISSING'"),
        ("solar_club:NAME", r"a str, expected a zencode.packages.Package"),
    ],
)
def test_an_entry_point_that_is_no_package_is_named(club: Mechanisms, target: str, message: str) -> None:
    with pytest.raises(PackageError, match=message):
        load(EntryPoint("somebody", target, GROUP))
    assert isinstance(Wrong(), Effect) and isinstance(load(EntryPoint("c", "solar_club:PACKAGE", GROUP)), Package)


# --- in a real node

SPEED = 600
# A summer noon: bela's roof gives more than bela needs.
NOON_S = 1_782_036_000


def test_real_nodes_carry_it_out_and_one_without_it_says_what_it_lacks(site: Path, tmp_path: Path) -> None:
    file = tmp_path / "club.zen"
    file.write_text(WITH_BONUS.replace("settles 2 minutes after", "settles 1 hour after"), encoding="utf-8")
    path = f"{ROOT}:{site}"
    checked = spawn("binding", "check", file, PYTHONPATH=path)
    assert checked.code == 0 and "fine, hash" in checked.out
    unknown = spawn("binding", "check", file)
    assert unknown.code == 2 and "no such sentence after Then" in unknown.out

    places = _village(tmp_path, file.read_text(encoding="utf-8"), site)
    with running(places[0], PYTHONPATH=path) as anna, running(places[1], PYTHONPATH=path):
        _until_sold(str(anna.ready["web"]))
    verified = spawn("ledger", "verify", places[0], "--json", PYTHONPATH=path)
    assert verified.code == 0 and verified.json["ok"] is True

    with installed_here(site):
        assert _paid_bonus_u(places[0]) > 0
    for words in (("run", places[0]), ("ledger", "verify", places[0])):
        lacking = complaint(*words, run=spawn)
        assert "the binding has statements of solar-club version 1, which this node lacks; it has: none" in lacking
        assert "install what is missing, in this version, and start the node again" in lacking


def _village(directory: Path, contract: str, site: Path) -> list[Path]:
    """Anna at home, and bela with a roof full of panels, on a fast clock."""
    clock = Clock(kind=CLOCK_DEMONSTRATION, speed=SPEED, origin_s=int(time.time()), shows_s=NOON_S - 3 * SPEED)
    homes = [
        Household(
            name=name,
            roles=roles,
            points=(f"{name}-1",),
            meters=(
                {
                    "metering_point": f"{name}-1",
                    "driver": "simulated",
                    "seed": number,
                    "pv_peak_w": 8_000 * number,
                    "interval_ms": 200,
                },
            ),
        )
        for number, (name, roles) in enumerate((("anna", ("administrator", "prosumer")), ("bela", ("prosumer",))))
    ]
    with installed_here(site):
        found_homes(
            directory / "village",
            "Sonnenhof",
            contract,
            homes,
            clock=clock,
            start_s=NOON_S,
            max_drift_s=(DEFAULT_DRIFT_S + 10) * SPEED,
        )
    return [directory / "village" / name for name in ("anna", "bela")]


def _until_sold(page: str) -> None:
    """Wait until a settled period has energy that a home gave to its neighbour."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        with urlopen(f"{page}/api/lines?account=all&limit=500", timeout=PATIENCE_S) as answer:
            lines = json.load(answer)["lines"]
        if any(line["sold_wh"] for line in lines):
            return
        assert time.monotonic() < deadline, lines
        time.sleep(0.5)


def _paid_bonus_u(place: Path) -> int:
    """What the fund has paid by the ledger on disk, executed again here."""
    [found] = microgrids(place)
    chain_id = bytes.fromhex(found.name)
    mechanisms = install()
    with Store.open(place, chain_id) as store:
        machine = Machine(read_as(Genesis, read_genesis(found)), chain_id, mechanisms, verify)
        replay(machine, store, None, lambda done, total: None)
    machine.check_invariants()
    return -machine.state.claims[fund_account("sunshine fund")].amount_u


def _without_it() -> Mechanisms:
    known = installed_mechanisms()
    return Mechanisms([known.get(*pin) for pin in known.supported() if pin[0] != "pay-as-asked"])
