"""Delivery: points that deliver energy, what is bought there, what their meters count, and storages."""

from __future__ import annotations

from meshnode.execution import watching
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import rows
from meshnode.ledger.verdicts import Verdict
from meshnode.settlement import delivering, points, storage_terms, storing
from protocols.records import (
    TICK_BEGIN,
    CoinOffer,
    CoinRedeem,
    CredentialBind,
    CredentialRemove,
    DeliveryCancel,
    Point,
    PointClose,
    Purchase,
    SessionReserve,
    StationOffer,
    StorageSet,
    Stored,
    Tick,
)


def _point(call: Call, record: Point) -> Verdict:
    match record.step:
        case StationOffer() | CoinOffer() as step:
            return points.offer(call.state, step, call.account)
        case StorageSet() as step:
            verdict = storing.set_up(call.state, step, call.account)
            if verdict == Verdict.ACCEPTED:
                call.ledger.floor.stored(step.asset)
            return verdict
        case PointClose() as step:
            return points.close(call.state, step, call.account)
        case CredentialBind() as step:
            return points.bind(call.state, step, call.account)
        case CredentialRemove() as step:
            return points.remove(call.state, step, call.account)


def _purchase(call: Call, record: Purchase) -> Verdict:
    state, record_id, account, time_s = call.state, call.record_id, call.account, call.time_s
    match record.step:
        case SessionReserve() as step:
            chain_id, verifier = call.ledger.chain_id, call.ledger.verifier
            return delivering.reserve(state, step, record_id, account, time_s, chain_id, verifier, call.events)
        case CoinRedeem() as step:
            return delivering.redeem(state, step, record_id, account, time_s)
        case DeliveryCancel() as step:
            verdict, happened = delivering.cancel(state, step, account, time_s)
            call.events.extend(happened)
            return verdict


def _tick(call: Call, record: Tick) -> Verdict:
    verdict, happened = delivering.tick(call.state, record, call.key.meter, call.time_s)
    call.events.extend(happened)
    if verdict == Verdict.ACCEPTED and record.sign == TICK_BEGIN:
        watching.ticked(call, record)
    return verdict


def _stored(call: Call, record: Stored) -> Verdict:
    rules = call.ledger.rules(call.time_s).period
    start_s = call.time_s - call.time_s % rules.length_s
    fees = storage_terms.fees(call.state, rules, start_s)
    verdict, happened = storing.store(call.state, record, call.key.meter, fees)
    call.events.extend(happened)
    if verdict == Verdict.ACCEPTED:
        watching.stored(call, record)
    return verdict


EXECUTED: Handlers = {
    Point: (rows.PURPOSE_MEMBER, _point),
    Purchase: (rows.PURPOSE_MEMBER, _purchase),
    Tick: (rows.PURPOSE_METER, _tick),
    Stored: (rows.PURPOSE_METER, _stored),
}
