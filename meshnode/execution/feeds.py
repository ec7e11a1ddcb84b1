"""Feeds: values from outside, named and reported."""

from __future__ import annotations

from meshnode.execution import watching
from meshnode.execution.call import Call, Handlers
from meshnode.ledger import feeds, rows
from meshnode.ledger.verdicts import Verdict
from protocols.records import Feed, FeedDefine


def _feed(call: Call, record: Feed) -> Verdict:
    if isinstance(record.step, FeedDefine):
        return feeds.define(call.state, record.step, call.account)
    was_lost = watching.is_lost(call.ledger, call.time_s)
    verdict = feeds.report(call.state, record.step, call.account, call.time_s)
    watching.reported(call, was_lost)
    return verdict


EXECUTED: Handlers = {Feed: (rows.PURPOSE_MEMBER, _feed)}
