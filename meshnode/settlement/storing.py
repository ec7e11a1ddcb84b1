"""Storing: energy in a storage as units of an asset - minted net of losses, burned when consumed, charged for.

The storage's meter says what went in and out, and whose it was; every Wh of its registers is somebody's.
Nobody has less than nothing: what is consumed beyond a balance is grid energy, and a fee that cannot be
paid is owed as arrears, which are paid as soon as there is money, before anything else.
"""

from __future__ import annotations

import msgspec

from meshnode.amounts import PPM
from meshnode.ledger import assets, capacity, credit, delivery_rows
from meshnode.ledger.balances import balance, change
from meshnode.ledger.movements import Moved, What
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import education, points, restoring
from meshnode.settlement.credit import Standing
from meshnode.settlement.delivering import put_keep
from meshnode.settlement.restoring import Taken
from meshnode.settlement.storage import StorageFee, charge_storage, divide_fee, most_stored_wh
from protocols.records import POLICY_ISSUER, StorageSet, Stored

# Stands for all owners in the fee's division; account ids have 16 bytes, so it is nobody's.
OWNERS = b"owners"
ENERGY = 1


class FeeCharged(msgspec.Struct, frozen=True):
    """A member's storage fee of one period: paid_u of it and of older arrears, arrears_u open after it."""

    asset: str
    account: bytes
    start_s: int
    stored_wh: int
    due_u: int
    paid_u: int
    arrears_u: int


def set_up(state: State, step: StorageSet, account: bytes) -> Verdict:
    """An asset becomes stored energy, or its rules change from now on."""
    asset = state.assets.get(step.asset)
    if asset is None:
        return Verdict.UNKNOWN_ASSET
    if asset.issuer != account:
        return Verdict.NOT_ISSUER
    known = state.storages.get(step.asset)
    meter = state.meters.get(step.meter)
    rules = assets.rules(state, step.asset)
    # Nobody but its meter mints it, and it pays for nothing: what is paid has no limit that room could be kept for.
    fresh = asset.kind == ENERGY and not asset.supply and rules.policy == POLICY_ISSUER and not rules.cashier
    fresh = fresh and step.asset not in _paying(state)
    if (known is None and not fresh) or (known is not None and known.meter != step.meter):
        return Verdict.NOT_STORED
    if meter is None or meter.until_s:
        return Verdict.METER_NOT_ACTIVE
    if step.fee_asset is not None and (step.fee_asset == step.asset or step.fee_asset in state.storages):
        return Verdict.STORED_PAYS
    for code in (step.access, step.fee_asset):
        if code is not None and code not in state.assets:
            return Verdict.UNKNOWN_ASSET
    if not all(points.is_member(state, one) for one, _ in (*step.owners, *step.others)):
        return Verdict.UNKNOWN_ACCOUNT
    parts_ppm = step.owners_ppm + step.education_ppm + sum(weight for _, weight in step.others)
    charges = step.fee_u_kwh > 0
    if (step.fee_asset is not None) != charges or parts_ppm != (PPM if charges else 0):
        return Verdict.RULES_CONTRADICT
    if bool(step.owners_ppm) != bool(step.owners):
        return Verdict.RULES_CONTRADICT
    if (step.education_ppm and not step.grant_u) or (step.grant_u and None in (step.access, step.fee_asset)):
        return Verdict.RULES_CONTRADICT
    if known is not None and education.has_u(state, step.asset) and _promised(known) != _promised_by(step):
        return Verdict.FUND_NOT_EMPTY
    if known is not None and known.fee_asset != (step.fee_asset or "") and _owing(state, step.asset):
        return Verdict.FEES_OWED
    registers = {} if known is None else {name: getattr(known, name) for name in _REGISTERS}
    row = delivery_rows.Storage(
        meter=step.meter,
        efficiency_ppm=step.efficiency_ppm,
        most_wh=most_stored_wh(step.most_cost_u, step.storage_u_kwh),
        access=step.access or "",
        fee_asset=step.fee_asset or "",
        fee_u_kwh=step.fee_u_kwh,
        owners_ppm=step.owners_ppm,
        owners=step.owners,
        divided=step.others,
        education_ppm=step.education_ppm,
        grant_u=step.grant_u,
        **registers,
    )
    state.storages.put(step.asset, row)
    return Verdict.ACCEPTED


def store(state: State, record: Stored, meter: bytes) -> tuple[Verdict, list[Taken | Moved]]:
    """What went into a storage is minted, less its losses; what was consumed of it is burned."""
    storage = state.storages.get(record.asset)
    if storage is None or storage.meter != meter:
        return Verdict.NOT_STORED, []
    fault = _fault_of_registers(storage, record) or _fault_of_parts(state, storage, record)
    fault = fault or restoring.fault(state, record)
    if fault:
        return fault, []
    moved: list[Taken | Moved] = restoring.restore(state, record)
    storage = state.storages[record.asset]
    minted = 0
    for account, charged_wh, discharged_wh in record.parts:
        units, rest = _minted(state, storage, record.asset, account, charged_wh)
        keep = state.keeps.get((record.asset, account)) or delivery_rows.Keep()
        redeemed_wh = min(keep.redeemed_wh, discharged_wh)
        owed = min(keep.owed_wh, units)
        kept = msgspec.structs.replace(
            keep,
            rest=rest,
            redeemed_wh=keep.redeemed_wh - redeemed_wh,
            charged_wh=keep.charged_wh + charged_wh,
            owed_wh=keep.owed_wh - owed,
        )
        put_keep(state, record.asset, account, kept)
        if units > owed:
            assets.mint(state, record.asset, account, units - owed)
            moved.append(Moved(What.STORED, b"", account, record.asset, units - owed))
        # What was passed on before a correction took it back is taken from what is stored now.
        paid = restoring.pay_due(state, record.asset, owed)
        moved += paid
        minted += units - owed + sum(one.amount for one in paid)
        if discharged_wh > redeemed_wh:
            moved += restoring.take(state, record.asset, account, discharged_wh - redeemed_wh, What.TAKEN_OUT)
    changed = msgspec.structs.replace(
        storage,
        charged_wh=record.charged_wh,
        discharged_wh=record.discharged_wh,
        minted=storage.minted + minted,
    )
    state.storages.put(record.asset, changed)
    return Verdict.ACCEPTED, moved


def charge_fees(state: State, start_s: int) -> list[FeeCharged | Moved]:
    """Every storage's fee for a period that is closed now, by what is stored now; what is owed comes first."""
    events = collect(state)
    for code, storage in state.storages.items():
        if storage.fee_u_kwh:
            events += _charge_fee(state, code, storage, start_s)
        events += education.grant(state, code, start_s)
    return events


def collect(state: State) -> list[FeeCharged | Moved]:
    """Whoever owes storage fees and has money now pays them first: before anything else that its money might do.

    By account; of one account the storages by the codes of their assets, each as far as the money goes.
    What is paid is divided as the storage divides its fees now. Call it after everything that may
    have moved money, until it gives nothing: who receives a part may owe as well.
    """
    events: list[FeeCharged | Moved] = []
    for account, asset in sorted(state.balances.take_risen()):
        for code in credit.arrears(state, account, asset):
            storage, keep = state.storages[code], state.keeps[(code, account)]
            paid_u = min(keep.arrears_u, balance(state, account, asset).free)
            if paid_u:
                events += _take_fee(state, code, storage, account, paid_u, keep.arrears_u - paid_u)
                received_u = divide_fee(_fee(code, storage), paid_u, dict(storage.owners))
                events += _divide(state, storage, received_u)
    return events


def check(state: State) -> None:
    """Invariant I4: there is no more of stored energy than its meter has counted.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    for code, storage in state.storages.items():
        supply = state.assets[code].supply
        assert 0 <= supply <= storage.minted, f"{code}: {supply} exist, its meter minted {storage.minted}"
        assert storage.minted <= max(0, storage.charged_wh), f"{code}: minted more than was charged"
    for key, row in state.keeps.items():
        assert min(msgspec.structs.astuple(row)) >= 0, f"{key}: {row}"
        if row.arrears_u:
            code, account = key
            has = balance(state, account, state.storages[code].fee_asset)
            assert not has.free, f"{account.hex()} owes fees for {code} and has {has.free} to pay them"


def _promised(storage: delivery_rows.Storage) -> tuple[str, str, int]:
    """What the education fund of a storage pays for, and with what."""
    return storage.access, storage.fee_asset, storage.grant_u


def _promised_by(step: StorageSet) -> tuple[str, str, int]:
    return step.access or "", step.fee_asset or "", step.grant_u


def _owing(state: State, code: str) -> bool:
    """Whether anybody owes fees of a storage."""
    return any(row.arrears_u for _, row in state.keeps.range((code, b""), (code + "\0", b"")))


def _paying(state: State) -> set[str]:
    """The assets that something is paid with now: orders, auctions, stations, storages."""
    return {
        *(order.paid_with for _, order in state.standing.items()),
        *(auction.paid_with for _, auction in state.auctions.items()),
        *(point.asset for _, point in state.points.items() if point.kind == delivery_rows.POINT_STATION),
        *(storage.fee_asset for _, storage in state.storages.items()),
    }


_REGISTERS = ("charged_wh", "discharged_wh", "minted")


def _fault_of_registers(storage: delivery_rows.Storage, record: Stored) -> Verdict:
    if storage.charged_wh < 0:
        # The first record says where the registers stand; what they counted before is nobody's.
        return Verdict.NOT_WHAT_COUNTED if record.parts else Verdict.ACCEPTED
    into_wh = record.charged_wh - storage.charged_wh
    out_wh = record.discharged_wh - storage.discharged_wh
    if into_wh < 0 or out_wh < 0:
        return Verdict.COUNTER_BACK
    sums = (sum(part[1] for part in record.parts), sum(part[2] for part in record.parts))
    return Verdict.ACCEPTED if sums == (into_wh, out_wh) else Verdict.NOT_WHAT_COUNTED


def _fault_of_parts(state: State, storage: delivery_rows.Storage, record: Stored) -> Verdict:
    minted = 0
    for account, charged_wh, _ in record.parts:
        if not points.is_member(state, account):
            return Verdict.UNKNOWN_ACCOUNT
        if not charged_wh:
            continue
        if storage.access and not balance(state, account, storage.access).free:
            return Verdict.NO_ACCESS
        units, _ = _minted(state, storage, record.asset, account, charged_wh)
        if not capacity.has_room(state, record.asset, account, units):
            return Verdict.NO_ROOM
        minted += units
    asset = state.assets[record.asset]
    return Verdict.OVER_CAP if asset.supply + minted > asset.cap else Verdict.ACCEPTED


def _minted(
    state: State, storage: delivery_rows.Storage, code: str, account: bytes, charged_wh: int
) -> tuple[int, int]:
    """Units for what an account charged, net of losses, and the millionths of a Wh that are left of it."""
    keep = state.keeps.get((code, account)) or delivery_rows.Keep()
    return divmod(keep.rest + charged_wh * storage.efficiency_ppm, PPM)


def _charge_fee(state: State, code: str, storage: delivery_rows.Storage, start_s: int) -> list[FeeCharged | Moved]:
    """What is due now, as far as there is money; the rest is owed. Only what was paid is divided."""
    stored: list[tuple[bytes, int, Standing]] = []
    for account, _ in state.accounts.items():
        has = balance(state, account, code)
        if stored_wh := has.free + has.held:
            keep = state.keeps.get((code, account)) or delivery_rows.Keep()
            free = balance(state, account, storage.fee_asset).free
            stored.append((account, stored_wh, Standing(free, arrears_u=keep.arrears_u)))
    charges = charge_storage(_fee(code, storage), stored, dict(storage.owners))
    events: list[FeeCharged | Moved] = []
    for one in charges.charged:
        events += _take_fee(state, code, storage, one.account, one.paid_u, one.after.arrears_u)
        events.append(FeeCharged(code, one.account, start_s, one.stored_wh, one.due_u, one.paid_u, one.after.arrears_u))
    return events + _divide(state, storage, charges.received_u)


def _fee(code: str, storage: delivery_rows.Storage) -> StorageFee:
    parts = (*storage.divided, (OWNERS, storage.owners_ppm), (education.fund_of(code), storage.education_ppm))
    return StorageFee(storage.fee_u_kwh, tuple(sorted(parts)), OWNERS)


def _take_fee(
    state: State, code: str, storage: delivery_rows.Storage, account: bytes, paid_u: int, arrears_u: int
) -> list[FeeCharged | Moved]:
    keep = state.keeps.get((code, account)) or delivery_rows.Keep()
    put_keep(state, code, account, msgspec.structs.replace(keep, arrears_u=arrears_u))
    if not paid_u:
        return []
    change(state, account, storage.fee_asset, free=-paid_u)
    return [Moved(What.STORAGE_FEE, account, b"", storage.fee_asset, paid_u)]


def _divide(state: State, storage: delivery_rows.Storage, received_u: dict[bytes, int]) -> list[FeeCharged | Moved]:
    events: list[FeeCharged | Moved] = []
    for account, part_u in sorted(received_u.items()):
        if part_u:
            change(state, account, storage.fee_asset, free=part_u)
            events.append(Moved(What.STORAGE_FEE, b"", account, storage.fee_asset, part_u))
    return events
