"""Share: case files by every mode, and everything that can be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from meshnode.settlement import MODES, Weighing
from tests.cli.shell import complaint, meshnode

NOON_S = 1_767_268_800  # 2026-01-01 12:00 UTC
SPAIN = {
    "period_s": 3600,
    "zone": "Europe/Madrid",
    "members": {name: {"share_ppm": ppm} for name, ppm in (("anna", 500_000), ("bela", 300_000), ("cora", 200_000))},
    "periods": [
        {"start_s": NOON_S, "consumed_wh": {"anna": 600, "bela": 900, "cora": 100}, "generated_wh": {"roof": 2000}}
    ],
    "prices": {"bought_u_kwh": 150_000, "surplus_u_kwh": 60_000},
}


def case(tmp_path: Path, value: Any) -> Path:
    file = tmp_path / "case.json"
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return file


def shared(tmp_path: Path, mode: str, value: Any) -> Any:
    return meshnode("share", "--mode", mode, case(tmp_path, value), "--json").json


def test_the_spanish_case(tmp_path: Path) -> None:
    told = shared(tmp_path, "es-static", SPAIN)
    [period] = told["periods"]
    assert period["local"] == "2026-01-01 13:00+01:00"
    assert period["members"] == {
        "anna": {"consumed_wh": 600, "shared_wh": 600, "grid_wh": 0, "surplus_wh": 400},
        "bela": {"consumed_wh": 900, "shared_wh": 600, "grid_wh": 300, "surplus_wh": 0},
        "cora": {"consumed_wh": 100, "shared_wh": 100, "grid_wh": 0, "surplus_wh": 300},
    }
    assert told["total"] == {
        "periods": 1,
        "generated_wh": 2000,
        "shared_wh": 1300,
        "surplus_wh": 700,
        "grid_wh": 300,
    }
    # Anna bought nothing in January, so nothing can be compensated.
    due = {month["member"]: (month["compensated_u"], month["lost_u"], month["due_u"]) for month in told["compensation"]}
    assert due == {"anna": (0, 24_000, 0), "bela": (0, 0, 45_000), "cora": (0, 18_000, 0)}


def test_the_austrian_case_as_text(tmp_path: Path) -> None:
    value = {
        "members": {"anna": {"share_ppm": 500_000}, "bela": {"share_ppm": 300_000}, "cora": {"share_ppm": 200_000}},
        "periods": [
            {"start_s": NOON_S, "consumed_wh": {"anna": 400, "bela": 100, "cora": 700}, "generated_wh": {"roof": 900}}
        ],
    }
    done = meshnode("share", "--mode", "at-static", case(tmp_path, value))
    assert done.code == 0
    assert done.out.splitlines()[2:] == [
        "member  consumed  shared  grid  surplus",
        "anna         400     400     0",
        "bela         100     100     0",
        "cora         700     180   520",
        "",
        "1 period: 680 shared + 220 surplus = 900 Wh generated; 520 Wh from the grid",
    ]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shares_out_a_case(tmp_path: Path, mode: str) -> None:
    rule = MODES[mode].rule
    fields = {Weighing.SHARES: "share_ppm", Weighing.RANKS: "rank"}
    parts = {"anna": 700_000, "bela": 300_000}
    members: dict[str, dict[str, int]] = {name: {} for name in parts}
    if rule.weighing in fields and not rule.by_source:
        members = {name: {fields[rule.weighing]: part} for name, part in parts.items()}
    period = {"consumed_wh": {"anna": 500, "bela": 900}, "generated_wh": {"mill": 300, "roof": 800}}
    if rule.by_source:
        period["share_ppm"] = {"mill": parts, "roof": parts}
    told = shared(tmp_path, mode, {"members": members, "periods": [{"start_s": NOON_S, **period}]})
    total = told["total"]
    assert total["shared_wh"] + total["surplus_wh"] == total["generated_wh"] == 1100
    assert total["shared_wh"] + total["grid_wh"] == 1400
    assert 800 <= total["shared_wh"] <= 1100


def test_a_member_takes_part_from_the_next_period_on(tmp_path: Path) -> None:
    """Bela joins five minutes into the first quarter."""
    value = {
        "members": {"anna": {}, "bela": {"from_s": NOON_S + 300}},
        "periods": [
            {"start_s": NOON_S + n * 900, "consumed_wh": {"anna": 500, "bela": 500}, "generated_wh": {"roof": 600}}
            for n in range(2)
        ],
    }
    first, second = shared(tmp_path, "at-dynamic", value)["periods"]
    assert [first["members"][name]["shared_wh"] for name in ("anna", "bela")] == [500, 0]
    assert [second["members"][name]["shared_wh"] for name in ("anna", "bela")] == [300, 300]


@pytest.mark.parametrize(
    ("first_s", "date", "quarters"), [(1_774_738_800, "2026-03-29", 92), (1_792_879_200, "2026-10-25", 100)]
)
def test_local_days_have_the_hours_they_have(tmp_path: Path, first_s: int, date: str, quarters: int) -> None:
    periods = [
        {"start_s": first_s + n * 900, "consumed_wh": {"anna": 10}, "generated_wh": {"roof": 4}} for n in range(-4, 104)
    ]
    told = shared(tmp_path, "at-dynamic", {"zone": "Europe/Vienna", "members": {"anna": {}}, "periods": periods})
    days = {day["date"]: day["periods"] for day in told["days"]}
    assert days[date] == quarters and sum(days.values()) == 108
    assert len({period["local"] for period in told["periods"]}) == 108
    assert told["total"]["shared_wh"] == 4 * 108


def test_italy_counts_hours_behind_one_substation(tmp_path: Path) -> None:
    value = {
        "members": {"anna": {}, "bela": {}},
        "substations": {"anna": "AC1", "school": "AC1", "bela": "AC2"},
        "periods": [{"start_s": NOON_S, "consumed_wh": {"anna": 500, "bela": 900}, "generated_wh": {"school": 700}}],
        "prices": {"incentive_u_kwh": 110_000},
    }
    told = shared(tmp_path, "it-cer", value)
    assert [(hour["substation"], hour["shared_wh"], hour["incentive_u"]) for hour in told["incentive"]] == [
        ("AC1", 500, 55_000),
        ("AC2", 0, 0),
    ]
    assert {name: line["shared_wh"] for name, line in told["members"].items()} == {"anna": 500, "bela": 0}
    assert told["total"]["surplus_wh"] == 200


def test_the_modes_are_listed() -> None:
    listed = meshnode("share", "--json").json["modes"]
    assert [mode["name"] for mode in listed] == list(MODES)
    assert {mode["period_s"] for mode in listed if mode["place"] == "Spain"} == {3600}
    assert "RD 244/2019" in meshnode("share").out


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    value = {
        "members": {"anna": {"share_ppm": 0.5}, "bela": {"rank": 3}, "cora": 5},
        "zone": "Europe/Nowhere",
        "colour": 1,
        "period_s": 900,
        "substations": {"anna": 1},
        "prices": {"bought_u_kwh": True},
        "periods": [
            {"start_s": NOON_S + 1, "consumed_wh": {"anna": -6, "dora": 9}, "generated_wh": {"roof": "2"}},
            {"start_s": NOON_S, "consumed_wh": [], "generated_wh": {}, "share_ppm": {"emil": 1_000_001}},
            {"start_s": NOON_S, "consumed_wh": {}, "generated_wh": {}},
            {},
        ],
    }
    file = case(tmp_path, value)
    said = complaint("share", "--mode", "es-static", file)
    for expected in (
        "zone: time zone 'Europe/Nowhere' is not known here",
        "the case: unknown key 'colour'; expected period_s, zone, members",
        "period_s: found 900, but es-static counts in periods of 3600 s",
        "members.anna.share_ppm: found 0.5, expected a whole number",
        "members.bela.rank: es-static takes none here",
        "members.cora: found 5, expected an object",
        f"periods[0].start_s: found {NOON_S + 1}, which is no multiple of 900 s",
        "periods[0].consumed_wh.anna: found -6, expected 0 to 1000000000",
        "periods[0].consumed_wh.dora: is not under members",
        "periods[0].generated_wh.roof: found the text '2', expected a whole number",
        "periods[1].consumed_wh: found a list, expected an object",
        "periods[1].share_ppm.emil: is not under members",
        "periods[1].share_ppm.emil: found 1000001, expected 0 to 1000000",
        f"periods[2].start_s: found {NOON_S} a second time",
        "periods[3]: no key 'start_s'",
        "substations.anna: found 1, expected a name",
        "substations: es-static shares by weights of all",
        "prices.bought_u_kwh: found True, expected a whole number",
    ):
        assert f"{file}: {expected}" in said, expected


@pytest.mark.parametrize(
    ("mode", "value", "message"),
    [
        ("at-static", {"members": {"anna": {"share_ppm": 900_000}}}, "periods[0]: the shares add up to 900000 ppm"),
        ("lu-priority", {"members": {"anna": {}}}, "members.anna: no rank; lu-priority needs one of everybody"),
        ("fr-full-dynamic", {"members": {"anna": {}}}, "periods[0].share_ppm: not given; fr-full-dynamic needs shares"),
        ("at-dynamic", {"members": {"anna": {"share_ppm": 1}}}, "members.anna.share_ppm: at-dynamic takes none here"),
        ("at-dynamic", [], "the case: found a list, expected an object"),
        ("at-dynamic", {"members": {}, "periods": 3}, "periods: found 3, expected a list"),
        ("at-dynamic", '{"members": {}, "members": {}}', "'members' twice in one object"),
        ("at-dynamic", "{", "no JSON: "),
        ("at-dynamic", "[" * 100_000, "no JSON: "),
        ("at-dynamic", "9" * 5_000, "no JSON: "),
        ("at-dynamic", {"members": {"\ud800": {}}}, "members: found the name '\\ud800', expected one that can be"),
        ("by-height", {}, "--mode: found 'by-height', expected one of mid-market-rate, pro-rata"),
    ],
)
def test_what_cannot_be_shared_is_refused(tmp_path: Path, mode: str, value: Any, message: str) -> None:
    period = {"start_s": NOON_S, "consumed_wh": {"anna": 5}, "generated_wh": {"roof": 5}}
    if isinstance(value, dict):
        value = {"periods": [period], **value}
    assert message in complaint("share", "--mode", mode, case(tmp_path, value))


def test_short_names_are_told_as_names_and_numbers_stay_numbers(tmp_path: Path) -> None:
    """61 is what a lower-case a looks like in hexadecimal."""
    shares = {"roof": {"a": 616_161}}
    period = {"start_s": NOON_S, "consumed_wh": {"a": 5}, "generated_wh": {"roof": 5}, "share_ppm": shares}
    said = complaint("share", "--mode", "fr-full-dynamic", case(tmp_path, {"members": {"a": {}}, "periods": [period]}))
    assert "periods[0]: source roof: the shares add up to 616161 ppm, expected 1000000" in said


def test_a_mode_needs_a_case_and_a_case_a_mode(tmp_path: Path) -> None:
    assert "no case file" in complaint("share", "--mode", "at-static")
    assert "--mode: not given" in complaint("share", case(tmp_path, SPAIN))
    assert "No such file" in complaint("share", "--mode", "at-static", tmp_path / "absent.json")
