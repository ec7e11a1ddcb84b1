"""Carried: which kinds of record a block may carry."""

from __future__ import annotations

from protocols.records import (
    auctions,
    credit,
    delivery,
    feeds,
    governance,
    membership,
    orders,
    origin,
    parameters,
    statements,
    tokens,
    wishes,
)

BLOCK_RECORDS: frozenset[int] = frozenset(
    struct.KIND
    for struct in (
        statements.Join,
        statements.Leave,
        statements.Reading,
        statements.Order,
        statements.Cancel,
        statements.Transfer,
        statements.AssetIssue,
        statements.BindingProposal,
        statements.BindingVote,
        statements.Support,
        statements.KeyChange,
        statements.Evidence,
        statements.QuorumChange,
        tokens.Burn,
        tokens.Exchange,
        tokens.Cash,
        tokens.Contract,
        orders.Amend,
        auctions.Auction,
        orders.OrderStep,
        delivery.Point,
        delivery.Tick,
        delivery.Purchase,
        delivery.Stored,
        feeds.Feed,
        origin.Installation,
        origin.Certificates,
        origin.GridCarbon,
        credit.MemberCredit,
        parameters.PriceSet,
        parameters.Parameter,
        wishes.Agent,
        wishes.Partner,
        governance.BindingWithdraw,
        governance.MatchingPause,
        membership.JoinVote,
        membership.Unfreeze,
    )
)
"""Kinds that a block may carry."""
