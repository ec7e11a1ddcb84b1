"""Tokens: assets that are issued and passed on."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.ledger import assets, rows
from meshnode.ledger.verdicts import Verdict
from protocols.records import AssetIssue, Transfer


def _transfer(call: Call, record: Transfer) -> Verdict:
    return assets.transfer(call.state, record, call.account)


def _issue(call: Call, record: AssetIssue) -> Verdict:
    return assets.issue(call.state, record, call.account)


EXECUTED: Handlers = {
    Transfer: (rows.PURPOSE_MEMBER, _transfer),
    AssetIssue: (rows.PURPOSE_MEMBER, _issue),
}
