"""Points: who delivers energy on which terms, and by which tokens and keys somebody is known there."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from meshnode.ledger import delivery_rows, rows
from meshnode.ledger.delivery_rows import POINT_COINS, POINT_STATION
from meshnode.ledger.energy_rows import POINT
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import introducing
from protocols.cose import Verifier
from protocols.records import (
    ROUTE_COMMON,
    CoinOffer,
    CredentialBind,
    CredentialRemove,
    PointClose,
    SessionReserve,
    StationOffer,
    consent_bytes,
)

MAX_CREDENTIALS_PER_ACCOUNT: Final = 16
"""A household's cards and phones."""


def offer(state: State, step: StationOffer | CoinOffer, account: bytes) -> Verdict:
    """A meter of the account delivers on these terms from now on; what is reserved keeps the terms it has."""
    meter = state.meters.get(step.meter)
    if meter is None or meter.account != account or meter.until_s:
        return Verdict.METER_NOT_ACTIVE
    if step.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    known = state.points.get(step.meter)
    busy = known.busy if known else b""
    if isinstance(step, CoinOffer):
        if step.route == ROUTE_COMMON and (step.asset not in state.storages or step.unit_wh != 1):
            return Verdict.NOT_STORED
        row = delivery_rows.Point(
            account, POINT_COINS, step.asset, step.silence_s, unit_wh=step.unit_wh, route=step.route, busy=busy
        )
    else:
        if step.asset in state.storages:
            return Verdict.STORED_PAYS
        energy_to = step.energy_to or account
        if not is_member(state, energy_to):
            return Verdict.UNKNOWN_ACCOUNT
        row = delivery_rows.Point(
            account,
            POINT_STATION,
            step.asset,
            step.silence_s,
            price_u_kwh=step.price_u_kwh,
            fee_u_kwh=step.fee_u_kwh,
            flat_u=step.flat_u,
            energy_to=energy_to,
            busy=busy,
        )
    state.points.put(step.meter, row)
    introducing.override(state, POINT, step.meter)
    return Verdict.ACCEPTED


def close(state: State, step: PointClose, account: bytes) -> Verdict:
    """Nothing new is reserved there; what is reserved already goes on."""
    point = state.points.get(step.meter)
    if point is None or point.closed:
        return Verdict.UNKNOWN_POINT
    if point.owner != account:
        return Verdict.NOT_FOR_YOU
    state.points.put(step.meter, msgspec.structs.replace(point, closed=1))
    introducing.override(state, POINT, step.meter)
    return Verdict.ACCEPTED


def bind(state: State, step: CredentialBind, account: bytes) -> Verdict:
    """The account is known by a token or a key at some points, and pays up to a limit for who shows it."""
    if step.credential in state.credentials:
        return Verdict.CREDENTIAL_TAKEN
    if step.asset not in state.assets:
        return Verdict.UNKNOWN_ASSET
    if any(point not in state.points for point in step.points):
        return Verdict.UNKNOWN_POINT
    key = step.public_key or b""
    if key and hashlib.sha256(key).digest() != step.credential:
        return Verdict.UNKNOWN_CREDENTIAL
    if sum(row.account == account for _, row in state.credentials.items()) >= MAX_CREDENTIALS_PER_ACCOUNT:
        return Verdict.TOO_MANY_CREDENTIALS
    row = delivery_rows.Credential(account, step.asset, step.most_u, step.points, key)
    state.credentials.put(step.credential, row)
    return Verdict.ACCEPTED


def remove(state: State, step: CredentialRemove, account: bytes) -> Verdict:
    """The token or the key is good for nothing from now on."""
    row = state.credentials.get(step.credential)
    if row is None:
        return Verdict.UNKNOWN_CREDENTIAL
    if row.account != account:
        return Verdict.NOT_FOR_YOU
    state.credentials.delete(step.credential)
    return Verdict.ACCEPTED


def payer(
    state: State, step: SessionReserve, account: bytes, escrow_u: int, chain_id: bytes, verifier: Verifier
) -> bytes | Verdict:
    """Who pays for a session that `account` reserves: itself, or who is known at the account's own station.

    Returns:
        The account, or why nobody pays.
    """
    if step.credential is None:
        return account
    point = state.points[step.point]
    if point.owner != account:
        return Verdict.NOT_FOR_YOU
    row = state.credentials.get(step.credential)
    if row is None or step.point not in row.points or row.asset != point.asset or not is_member(state, row.account):
        return Verdict.UNKNOWN_CREDENTIAL
    if row.public_key:
        message = consent_bytes(chain_id, row.public_key, step.point, step.cap_wh, step.number)
        if step.number <= row.number or not verifier(row.public_key, message, step.proof):
            return Verdict.UNKNOWN_CREDENTIAL
    return row.account if escrow_u <= row.most_u else Verdict.OVER_LIMIT


def expected(state: State, meter: bytes, credential: bytes) -> bytes | None:
    """The delivery that waits at a point for who shows a credential there; None if none does.

    Answered from this node's own ledger: a station without a network still knows for whom it was paid.
    """
    point = state.points.get(meter)
    found = state.deliveries.get(point.busy) if point is not None and point.busy else None
    if point is None or found is None:
        return None
    row = state.credentials.get(credential)
    known = found.guest == credential if found.guest else row is not None and row.account == found.payer
    return point.busy if known else None


def is_member(state: State, account: bytes) -> bool:
    """Whether the account belongs to the community."""
    row: rows.Account | None = state.accounts.get(account)
    return row is not None and not row.left_s
