"""Electorate bugs: what goes wrong where validators come and go, and where somebody is accused."""

from __future__ import annotations

from tests.simulator.bug import Bug, Change
from tests.simulator.plan import CHANGE

_VALIDATORS = "meshnode.ledger.validators"
_ELECTORATE = "meshnode.network.electorate:Electorate"


def _bug(name: str, *changes: tuple[str, str, str], needs: tuple[str, ...] = (CHANGE,)) -> Bug:
    return Bug(name, tuple(Change(*change) for change in changes), needs)


ELECTORATE_BUGS: tuple[Bug, ...] = (
    # The ledger.
    _bug(
        "a change is applied twice",
        ("protocols.quorum_change:successor", "epochs[key] + 1 if", "epochs[key] + 2 if"),
    ),
    _bug(
        "a second change while one is under way",
        (f"{_VALIDATORS}:change", "if not newest.from_height:", "if False:"),
    ),
    _bug(
        "a change takes effect at once",
        (
            f"{_VALIDATORS}:change",
            "rows.Quorum(following.mode, following.voters)",
            "rows.Quorum(following.mode, following.voters, height + 1)",
        ),
    ),
    _bug(
        "a change takes effect a block late",
        (f"{_VALIDATORS}:apply_header", "row.voters, height + 1)", "row.voters, height + 2)"),
    ),
    _bug(
        "a change takes effect a block late on one node",
        (
            f"{_ELECTORATE}.at",
            "self._chain.head(height - 1).next_validators",
            "self._chain.head(max(0, height - 1 - (self.number == 2))).next_validators",
        ),
    ),
    # Who is counted.
    _bug(
        "who was removed is still asked for votes and counted",
        (
            f"{_ELECTORATE}.follow",
            "numbers = self.numbers(config)",
            "numbers = self.numbers(config) | (core.voters if core.voters > self.numbers(config) else frozenset())",
        ),
    ),
    _bug(
        "who was removed goes on voting",
        (f"{_VALIDATORS}:votes", "return at(state", "return device_key in state.seats or at(state"),
    ),
    _bug(
        "who is added does not vote",
        (f"{_VALIDATORS}:votes", "or decided(state).has(device_key)", "and at(state, 1).has(device_key)"),
    ),
    # Accusations.
    _bug(
        "votes in two terms are taken for two in one",
        (
            "protocols.histories:_Known._take_vote",
            "self._votes[envelope.key_id, vote.term]",
            "self._votes[envelope.key_id, 0]",
        ),
        ("protocols.evidence:_votes", "if one.term != two.term:", "if False:"),
    ),
    _bug(
        "a block and its ancestor are taken for two histories",
        ("protocols.evidence:_acks", "if ancestor == low.block:", "if False:"),
        ("protocols.histories:_Known._links", "if block != low[1] and len", "if len"),
    ),
    _bug(
        "elections are held against the validators of today",
        ("protocols.evidence:_form", "config = trial.roll.config(head.validators)", "config = trial.roll.configs[-1]"),
    ),
)
"""Every bug of this kind that the simulator must catch."""
