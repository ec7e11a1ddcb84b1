"""Period effects: the tariff of a settlement period, as the binding's blocks make it when the period closes.

What a condition asked of members, batteries and the grid is written down at the first settlement of a period, and
holds for every later correction of it: a late reading changes energies, and never who was meant by a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from meshnode.amounts import PPM, split
from meshnode.effects import Facts, Outcome
from meshnode.ledger import feeds, knowledge, readings
from meshnode.ledger.energy_rows import MemberFacts, PeriodFacts, StoredEnergy
from meshnode.ledger.state import State
from meshnode.ledger.tables import Table
from meshnode.settlement import parameters
from meshnode.settlement.agreed import BASES, Agreed, Split
from meshnode.settlement.levies import NEIGHBOURS, Charge, Solidarity
from meshnode.settlement.metered import Metered
from meshnode.settlement.period import Settlement, Tariff
from meshnode.settlement.posting import GRID_ACCOUNT, Reason, fund_account
from meshnode.settlement.sharing import Weighing
from meshnode.settlement.sharing_modes import MODES
from zencode.catalogue import ids

HOUR_S = 3_600
# Where surplus is compensated it is the member's own: what a fixed share exceeds its use is not the plant's.
OWN_SURPLUS = {"static": "es-static"}
_BATTERY_OWNER = "battery owner"
_NETWORK_FEE = "network fee"
_INCENTIVE = "incentive"


class Emergency(msgspec.Struct, frozen=True):
    """What holds while the grid is lost.

    critical: who has a critical load. first: who is served before the others, group by group. ration_w: what
    every home but those draws at most; None: as much as it likes.
    """

    critical: frozenset[bytes]
    first: tuple[frozenset[bytes], ...]
    ration_w: int | None


def note(state: State, start_s: int, length_s: int, agreed: Agreed, accounts: Sequence[bytes]) -> None:
    """A period is closed: what the binding asks of it is written down."""
    note_stored(state, start_s, length_s, agreed, accounts)
    if agreed.asks_charge or agreed.feed:
        charge = tuple(sorted(charges(state, agreed).items()))
        state.period_facts.put(start_s, PeriodFacts(int(is_lost(state, agreed, start_s)), charge))
    if agreed.asks_money:
        for account in accounts:
            state.member_facts.put((start_s, account), member_facts(state, start_s, account))


def finish(state: State, start_s: int) -> None:
    """No correction can follow."""
    if start_s in state.period_facts:
        state.period_facts.delete(start_s)
    tables: tuple[Table[Any, Any], ...] = (state.member_facts, state.stored_energy)
    for table in tables:
        for key, _ in table.range((start_s, b""), (start_s + 1, b"")):
            table.delete(key)


def member_facts(state: State, start_s: int, account: bytes) -> MemberFacts:
    """What a member has now."""
    has = knowledge.facts_of(state, account, start_s)
    return MemberFacts(has.balance_u or 0, tuple(sorted((has.units or {}).items())))


def estimate_days(state: State, start_s: int, agreed: Agreed, account: bytes) -> int:
    """From how many similar days a missing reading of a member is estimated; 0: from none."""
    return agreed.estimate_days(knowledge.facts_of(state, account, start_s))


def charges(state: State, agreed: Agreed) -> dict[str, int]:
    """The state of charge of the binding's batteries, as far as their meters have said, by name."""
    known = {name: state.charge.get(meter) for name, meter in agreed.meters.items() if name in agreed.batteries}
    return {name: row.charge_ppm for name, row in known.items() if row is not None}


def is_lost(state: State, agreed: Agreed, at_s: int) -> bool:
    """Whether the feed that the binding names says that the grid is gone."""
    found = feeds.current(state, agreed.feed, at_s) if agreed.feed else None
    return found is not None and found[1].value == 0


def shared_ppm(settlement: Settlement) -> int | None:
    """Of what was injected in a period, how much was shared; None where nothing was."""
    shared_wh = sum(line.neighbours_wh for line in settlement.lines)
    injected_wh = sum(line.sold_wh + line.fed_in_wh for line in settlement.lines)
    return PPM * shared_wh // injected_wh if injected_wh else None


def tariff(
    state: State, start_s: int, length_s: int, fixed: Tariff, agreed: Agreed, metered: Sequence[Metered]
) -> Tariff:
    """The tariff with which a period is settled, before it is known how much is shared.

    Args:
        fixed: prices, and what administrators have set, of the period.
    """
    outcome = agreed.closing(_facts(state, start_s, fixed, None))
    sharing = agreed.sharing(outcome)
    if fixed.compensation and sharing in OWN_SURPLUS:
        sharing = OWN_SURPLUS[sharing]
    accounts = [entry.account for entry in metered]
    first = tuple(_with_role(state, accounts, str(role)) for (role,) in _slots(outcome, ids.SERVE_FIRST))
    changes: dict[str, Any] = {
        "sharing": sharing,
        "weights": _weights(state, start_s, agreed, sharing, accounts),
        "shared_price_u_kwh": agreed.shared_price_u_kwh,
        "moves": not outcome.of(ids.MOVE_NOTHING),
    }
    row = state.period_facts.get(start_s)
    if row is not None and row.lost:
        found = emergency(state, agreed, dict(row.charge), accounts)
        first = (*found.first, *first)
        if found.ration_w is not None:
            most_wh = found.ration_w * length_s // HOUR_S
            changes["most_wh"] = tuple((one, most_wh) for one in accounts if one not in found.critical)
    changes["first"] = tuple(dict.fromkeys(group for group in first if group))
    return money(state, start_s, msgspec.structs.replace(fixed, **changes), agreed, metered, None)


def money(
    state: State, start_s: int, known: Tariff, agreed: Agreed, metered: Sequence[Metered], shared: int | None
) -> Tariff:
    """A tariff that says how energy is shared, with what is charged for it.

    Args:
        shared: of what is injected, how much is shared, in ppm; None: not known.
    """
    facts = _facts(state, start_s, known, shared)
    outcome = agreed.closing(facts)
    network = resolved(state, start_s, agreed, agreed.split(_NETWORK_FEE, outcome))
    asked = _asked(state, start_s, agreed, facts, metered)
    everybody = frozenset(entry.account for entry in metered)
    charges: list[Charge] = []
    levied = parameters.levied(state, start_s)
    fee_u_kwh = 0
    for (reason, base, u_kwh, recipient), payers in asked.items():
        whole = payers == everybody
        if (reason, base, whole) == (Reason.FEE, NEIGHBOURS, True):
            fee_u_kwh = u_kwh
        elif u_kwh and not (reason is Reason.LEVY and fund_account(recipient) in levied):
            shares = resolved(state, start_s, agreed, ((recipient, PPM),)) if recipient else network
            charges.append(Charge(base, u_kwh, shares, reason, None if whole else payers))
    changes: dict[str, Any] = {"fee_u_kwh": fee_u_kwh, "fee_split": network, "charges": tuple(charges)}
    if agreed.incentive_u_kwh:
        changes["incentive_u_kwh"] = agreed.incentive_u_kwh
        changes["incentive_split"] = resolved(state, start_s, agreed, agreed.split(_INCENTIVE, outcome))
    given: Any = outcome.last(ids.SOLIDARITY)
    if given is not None and known.solidarity is None:
        helped = _with_role(state, _members(state, start_s), str(given[1]))
        changes["solidarity"] = Solidarity(given[0], tuple((account, 1) for account in sorted(helped)))
    return msgspec.structs.replace(known, **changes)


def resolved(
    state: State, start_s: int, agreed: Agreed, shares: Split, battery: str = ""
) -> tuple[tuple[bytes, int], ...]:
    """Recipients by account.

    A member's name is that member from the first period after it joined; every other name is a fund's. Owners of
    a battery receive by what they contributed; without a battery of this name, those of every battery alike.
    """
    found: dict[bytes, int] = {}
    for name, ppm in shares:
        for account, part_ppm in split(ppm, _recipients(state, start_s, agreed, name, battery).items()).items():
            found[account] = found.get(account, 0) + part_ppm
    return tuple((account, ppm) for account, ppm in found.items())


def recipient(state: State, start_s: int, name: str) -> bytes:
    """Whose account a name means in a period: a member's, else a fund's."""
    row = state.names.get(name)
    if row is not None and state.accounts[row.account].joined_s <= start_s:
        return row.account
    return fund_account(name)


def note_stored(state: State, start_s: int, length_s: int, agreed: Agreed, accounts: Iterable[bytes]) -> None:
    """What these took out of their storages in a period is what fees on it are settled with from now on."""
    for account in accounts if agreed.asks_stored else ():
        found_wh = _stored_wh(state, start_s, length_s, account)
        if found_wh:
            state.stored_energy.put((start_s, account), StoredEnergy(found_wh))
        elif (start_s, account) in state.stored_energy:
            state.stored_energy.delete((start_s, account))


def stored_otherwise(state: State, start_s: int, length_s: int, agreed: Agreed, account: bytes) -> bool:
    """Whether an account's storages tell otherwise now than what a period is settled with."""
    row = state.stored_energy.get((start_s, account)) or StoredEnergy(0)
    return agreed.asks_stored and row.discharged_wh != _stored_wh(state, start_s, length_s, account)


def stored_wh(state: State, start_s: int) -> tuple[tuple[bytes, int], ...]:
    """What each took out of its storages, as a period is settled with it."""
    found = state.stored_energy.range((start_s, b""), (start_s + 1, b""))
    return tuple((account, row.discharged_wh) for (_, account), row in found)


def _stored_wh(state: State, start_s: int, length_s: int, account: bytes) -> int:
    parts = [
        readings.more_energy(state, meter_id, start_s, length_s)
        for meter_id, meter in state.meters.of_account(account)
        if readings.counts(meter, start_s)
    ]
    return sum(part.discharged_wh for part in parts if part is not None)


def emergency(state: State, agreed: Agreed, charge: Mapping[str, int], accounts: Sequence[bytes]) -> Emergency:
    """What holds while the grid is lost. charge: of batteries, by name."""
    outcome = agreed.blocks.at(ids.GRID_LOST, Facts(charge_ppm=charge))
    owners = {state.meters[meter].account for meter in agreed.critical if meter in state.meters}
    critical = frozenset(owners.intersection(accounts))
    roles = tuple(_with_role(state, accounts, str(role)) for (role,) in _slots(outcome, ids.SERVE_FIRST))
    ration: Any = outcome.last(ids.RATION)
    return Emergency(
        critical=critical,
        first=(critical, *roles) if outcome.of(ids.CRITICAL_FIRST) else roles,
        ration_w=None if ration is None else ration[0],
    )


def _facts(state: State, start_s: int, fixed: Tariff, shared: int | None) -> Facts:
    row = state.period_facts.get(start_s)
    return Facts(
        time_s=start_s,
        grid_price_u_kwh=fixed.grid_price_u_kwh,
        shared_ppm=shared,
        charge_ppm=dict(row.charge) if row is not None else {},
    )


_Asked = dict[tuple[Reason, int, int, str], frozenset[bytes]]


def _asked(state: State, start_s: int, agreed: Agreed, facts: Facts, metered: Sequence[Metered]) -> _Asked:
    """Who pays what on which energy to whom: by (reason, base, price, recipient), in order; a fee's recipient is ""."""
    found: dict[tuple[Reason, int, int, str], set[bytes]] = {}
    common = None if agreed.personal else _charged(agreed.closing(facts))
    for entry in metered:
        said = common
        if said is None:
            said = _charged(agreed.closing(_of_member(state, start_s, facts, entry.account)))
        for (reason, base, to), u_kwh in said.items():
            found.setdefault((reason, base, u_kwh, to), set()).add(entry.account)
    return {key: frozenset(payers) for key, payers in sorted(found.items())}


def _of_member(state: State, start_s: int, facts: Facts, account: bytes) -> Facts:
    row = state.member_facts.get((start_s, account))
    known = {} if row is None else {"balance_u": row.balance_u, "units": dict(row.units)}
    return msgspec.structs.replace(facts, roles=frozenset(state.accounts[account].roles), **known)


def _charged(outcome: Outcome) -> dict[tuple[Reason, int, str], int]:
    """What is charged, by (reason, base, recipient); of two for the same energy the last one holds."""
    found: dict[tuple[Reason, int, str], int] = {}
    for u_kwh, sort in _slots(outcome, ids.FEE_PER_KWH):
        found[Reason.FEE, BASES[sort], ""] = u_kwh
    for u_kwh, sort, to in _slots(outcome, ids.LEVY):
        found[Reason.LEVY, BASES[sort], to] = u_kwh
    return found


def _slots(outcome: Outcome, wanted: int) -> list[Any]:
    return [action.slots for action in outcome.of(wanted)]


def _recipients(state: State, start_s: int, agreed: Agreed, name: str, battery: str) -> dict[bytes, int]:
    """Whose part a name's is, by account and weight."""
    named = [agreed.batteries[battery]] if battery in agreed.batteries else list(agreed.batteries.values())
    if name != _BATTERY_OWNER or not named:
        return {recipient(state, start_s, name): 1}
    found: dict[bytes, int] = {}
    for one in named:
        whole = sum(amount_u for _, amount_u in one.contributions)
        for owner, amount_u in one.contributions:
            account = recipient(state, start_s, owner)
            found[account] = found.get(account, 0) + amount_u * PPM // whole
    return found


def _weights(
    state: State, start_s: int, agreed: Agreed, sharing: str | None, accounts: Sequence[bytes]
) -> tuple[tuple[bytes, int], ...]:
    """Shares or ranks of those who are metered in the period, where the way to share weighs by them.

    A share of anybody else - not a member yet, without a meter, gone - goes to the grid as one share. So a correction
    finds the shares that the first settlement found, whoever joined since. Shares beyond 100 % are cut in proportion.
    """
    weighing = MODES[sharing].rule.weighing if sharing else Weighing.NONE
    names = {account: state.accounts[account].name for account in accounts}
    if weighing is Weighing.RANKS:
        return tuple((account, agreed.rank(name)) for account, name in names.items())
    if weighing is not Weighing.SHARES:
        return ()
    by_name = agreed.shares(start_s)
    found = {account: by_name.get(name, 0) for account, name in names.items()}
    absent = PPM - sum(found.values())
    if absent < 0:
        return tuple(split(PPM, found.items()).items())
    return (*found.items(), (GRID_ACCOUNT, absent)) if absent else tuple(found.items())


def _with_role(state: State, accounts: Iterable[bytes], role: str) -> frozenset[bytes]:
    return frozenset(account for account in accounts if role in state.accounts[account].roles)


def _members(state: State, start_s: int) -> list[bytes]:
    """Who belongs to the community in a period."""
    return [
        account
        for account, row in state.accounts.items()
        if row.joined_s <= start_s and (not row.left_s or row.left_s > start_s)
    ]
