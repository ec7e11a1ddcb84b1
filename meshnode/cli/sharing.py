"""Sharing: `meshnode share` - a case file shared out by any mode, with the code that settles the ledger."""

from __future__ import annotations

from typing import Annotated, Any

from meshnode.cli.output import Fault, Json, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import read_input


def add_to(app: Group) -> None:
    """Add the command to the command line."""
    app.command()(share)


def share(
    case: Annotated[str, Argument("CASE.json", "The case; - reads stdin. Left out, the modes are listed.")] = "",
    mode: Annotated[str, Option("--mode", "How to share; see them with: meshnode share")] = "",
    json: Json = False,
) -> None:
    """Share out a case file by any mode, or list the modes.

    A case is {"members": {"anna": {"share_ppm": 500000, "rank": 1, "from_s": 1767225600}}, "periods":
    [{"start_s": 1767225600, "consumed_wh": {"anna": 400}, "generated_wh": {"roof": 900}, "share_ppm": {"anna":
    1000000}}], "period_s": 900, "zone": "Europe/Vienna", "substations": {"anna": "AC1", "roof": "AC1"}, "prices":
    {"bought_u_kwh": 150000, "surplus_u_kwh": 60000, "incentive_u_kwh": 110000}}. Only members and periods must be
    there; of members, what the mode asks for: shares in millionths, or ranks. A period's own shares replace those of
    the members (under fr-full-dynamic one set for each source). All numbers are whole.
    """
    from meshnode.settlement.sharing_case import CaseError, read, run
    from meshnode.settlement.sharing_modes import MODES

    if not case:
        if mode:
            raise Fault("no case file\n    name one after the mode, or - to read stdin")
        _list_modes(json)
        return
    if mode not in MODES:
        what = f"--mode: found {mode!r}" if mode else "--mode: not given"
        raise Fault(f"{what}, expected one of {', '.join(MODES)}\n    see what they mean with: meshnode share")
    value = _parsed(case)
    faults: list[str] = []
    zone: tuple[tuple[int, int], ...] = ()
    try:
        zone = _zone(value)
    except Fault as error:
        faults.append(str(error))
    try:
        found = read(value, MODES[mode])
        told = run(found, MODES[mode], zone)
    except CaseError as error:
        faults += error.faults
    if faults:
        raise Fault("\n".join(f"{case}: {fault}" for fault in faults))
    answer(told, lambda: _text(told), json)


def _list_modes(json: bool) -> None:
    from meshnode.settlement.sharing_modes import MODES

    value = [
        {
            "name": mode.name,
            "place": mode.place,
            "rounds": [key.value for key in mode.rule.rounds],
            "weights": mode.rule.weighing.value,
            "by_source": mode.rule.by_source,
            "period_s": mode.period_s or None,
            "meaning": mode.meaning,
            "source": mode.source,
        }
        for mode in MODES.values()
    ]
    rows = [(mode.name, mode.place, mode.rule.weighing.value, mode.meaning, mode.source) for mode in MODES.values()]
    answer({"modes": value}, table(rows, ("mode", "in use in", "weights", "what it does", "source")), json)


def _parsed(case: str) -> Any:
    """The values of a JSON file. Raises Fault: no JSON, or a key twice, which JSON readers pass over in silence."""
    import json

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        twice = sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) != len(keys) else []
        if twice:
            raise Fault(f"{case}: {', '.join(map(repr, twice))} twice in one object\n    keep one of each")
        return dict(pairs)

    try:
        return json.loads(read_input(case), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Fault(f"{case}: no JSON: {error}\n    see the format with: meshnode share --help") from error


def _zone(value: Any) -> tuple[tuple[int, int], ...]:
    """The offsets of the case's zone, from its first period on."""
    name = value.get("zone") if isinstance(value, dict) else None
    if name is None:
        return ()
    from meshnode.config import ConfigError
    from meshnode.founding import zone_changes

    periods = value.get("periods")
    starts = [one.get("start_s") for one in periods if isinstance(one, dict)] if isinstance(periods, list) else []
    begin_s = min((start for start in starts if isinstance(start, int) and 0 <= start < 2**32), default=0)
    try:
        return zone_changes(str(name), begin_s)
    except ConfigError as error:
        raise Fault(f"zone: {error}") from error


def _text(told: dict[str, Any]) -> str:
    from meshnode.amounts import format_count

    total = told["total"]
    lines = [
        f"{told['mode']}: {told['meaning']} ({told['source']})",
        "",
        _table_of_members(told["members"]),
        "",
        f"{format_count(total['periods'], 'period')}: {total['shared_wh']} shared + {total['surplus_wh']} surplus = "
        f"{total['generated_wh']} Wh generated; {total['grid_wh']} Wh from the grid",
    ]
    if len(told["days"]) > 1:
        head = ("day", "periods", "generated", "shared", "surplus", "grid")
        rows = [(one["date"], *(str(one[key]) for key in list(one)[1:])) for one in told["days"]]
        lines += ["", table(_right(rows, head), head)]
    for month in told.get("compensation", []):
        lines.append(
            f"{month['month']} {month['member']}: bought {_money(month['bought_u'])}, surplus worth "
            f"{_money(month['surplus_u'])}, of it compensated {_money(month['compensated_u'])} and lost "
            f"{_money(month['lost_u'])}; due {_money(month['due_u'])}"
        )
    for hour in told.get("incentive", []):
        where = f" {hour['substation']}" if hour["substation"] else ""
        lines.append(f"{hour['local']}{where}: shared {hour['shared_wh']} Wh, incentive {_money(hour['incentive_u'])}")
    return "\n".join(lines)


def _money(amount_u: int) -> str:
    """An amount without its currency, which a case does not name."""
    from meshnode.amounts import format_money

    return format_money(amount_u, "").strip()


def _table_of_members(members: dict[str, dict[str, int]]) -> str:
    head = ("member", "consumed", "shared", "grid", "surplus")
    rows = [
        (name, *(str(line.get(f"{key}_wh", "")) for key in ("consumed", "shared", "grid", "surplus")))
        for name, line in members.items()
    ]
    return table(_right(rows, head), head)


def _right(rows: list[tuple[str, ...]], head: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Numbers, which is every column but the first, aligned to the right."""
    widths = [max(len(row[column]) for row in (*rows, head)) for column in range(len(head))]
    return [(row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))) for row in rows]
