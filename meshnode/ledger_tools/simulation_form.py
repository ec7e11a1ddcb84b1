"""Simulation form: a simulation as plain data, for JSON, pages and tables.

`form` gives

    {"headline", "community", "chain_id", "currency",
     "from_s", "to_s"                   the settlement periods that are told begin in between
     "periods", "final_periods"         of them have closed; can no more be corrected
     "blocks", "records"                executed again, from the genesis on
     "reproduced": {"state_hashes", "claims"}   signed state hashes come to again; accounts whose bills add up
     "in_force", "old", "new"           hashes of bindings
     "accounts": [{"account", "kind", "name", "gain_u", "old", "new"}],
     "steps": [{"changes", "gains", "refused"}],
     "differing_records", "records_listed": [{"id", "kind", "height", "position", "account", "name", "old", "new"}],
     "holdings": [{"account", "name", "asset", "old", "new"}]}

A kind of account is "member", "fund" or "grid". `gain_u` is how much better off it is under the new binding; all
together are zero. "old" and "new" of an account are its bills: {"total_u", "neighbours_u", "grid_u",
"fees_u", "levies_u", "other_u", "own_wh", "neighbours_wh", "grid_wh", "sold_wh", "fed_in_wh"}, amounts in
micro-units to pay, below zero to receive. A step has "changes": [{"line", "removed": [sentence], "added":
[sentence]}] and "gains": [{"account", "name", "gain_u"}]; several changes in one step could not be told apart.
"old" and "new" of a record are {"verdict", "meaning"}; of a holding units of the asset.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.ledger_tools.bills import Bill
from meshnode.ledger_tools.simulation import Simulation, Step
from zencode.binding import Statement
from zencode.languages import LANGUAGES
from zencode.sentences import BY_ID
from zencode.writer import write_statement

HEADLINE: Final = "if everybody had acted the same"


def form(simulation: Simulation, language: str = "en") -> dict[str, Any]:
    """A simulation as plain data; see the module's text.

    Args:
        language: of the sentences.
    """
    names = simulation.names
    return {
        "headline": HEADLINE,
        "community": simulation.community,
        "chain_id": simulation.chain_id.hex(),
        "currency": simulation.currency,
        "from_s": simulation.from_s,
        "to_s": simulation.to_s,
        "periods": simulation.periods,
        "final_periods": simulation.final,
        "blocks": simulation.blocks,
        "records": simulation.records,
        "reproduced": {"state_hashes": simulation.hashes, "claims": simulation.claims},
        "in_force": simulation.in_force.hex(),
        "old": simulation.old.hex(),
        "new": simulation.new.hex(),
        "accounts": [
            {
                "account": one.account.hex(),
                "kind": one.kind,
                "name": one.name,
                "gain_u": one.gain_u,
                "old": _bill(one.old),
                "new": _bill(one.new),
            }
            for one in simulation.outcomes
        ],
        "steps": [_step(step, simulation, language) for step in simulation.steps],
        "differing_records": simulation.differing,
        "records_listed": [
            {
                "id": one.record_id.hex(),
                "kind": one.kind,
                "height": one.height,
                "position": one.position,
                "account": one.account.hex(),
                "name": names[one.account],
                "old": _verdict(one.old),
                "new": _verdict(one.new),
            }
            for one in simulation.verdicts
        ],
        "holdings": [
            {
                "account": one.account.hex(),
                "name": names[one.account],
                "asset": one.asset,
                "old": one.old,
                "new": one.new,
            }
            for one in simulation.holdings
        ],
    }


def _bill(bill: Bill) -> dict[str, int]:
    fields = msgspec.structs.asdict(bill)
    energy = msgspec.structs.asdict(fields.pop("energy"))
    return {"total_u": bill.total_u, **fields, **energy}


def _step(step: Step, simulation: Simulation, language: str) -> dict[str, Any]:
    def said(statements: tuple[Statement, ...]) -> list[str]:
        return [_sentence(statement, language, simulation.currency) for statement in statements]

    changes = [{"line": one.line, "removed": said(one.removed), "added": said(one.added)} for one in step.amendments]
    return {
        "changes": changes,
        "gains": [
            {"account": account.hex(), "name": simulation.names[account], "gain_u": gain_u}
            for account, gain_u in step.gains
        ],
        "refused": step.refused,
    }


def _sentence(statement: Statement, language: str, currency: str) -> str:
    keyword = LANGUAGES[language].keywords[BY_ID[statement.id].phase][0]
    return f"{keyword} {write_statement(statement, language, currency)}"


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {"verdict": verdict.name, "meaning": SENTENCES[verdict]}
