"""Feeds: values from outside, named and reported."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.ledger import feeds, rows
from meshnode.ledger.verdicts import Verdict
from protocols.records import Feed, FeedDefine


def _feed(call: Call, record: Feed) -> Verdict:
    if isinstance(record.step, FeedDefine):
        return feeds.define(call.state, record.step, call.account)
    return feeds.report(call.state, record.step, call.account, call.time_s)


EXECUTED: Handlers = {Feed: (rows.PURPOSE_MEMBER, _feed)}
