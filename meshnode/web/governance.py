"""Governance: the endpoints about the binding in force, those that are proposed, and the emergency stop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import pausing, proposals, rows
from meshnode.ledger.governance_rows import ADOPTED, BEGUN, OPEN, UNDECIDED, WAITING, Proposal
from meshnode.ledger.pausing import MAX_PAUSE_S
from meshnode.ledger.verdicts import SENTENCES, Verdict
from meshnode.machine import Machine
from meshnode.rules import hindrances, needed_abilities, needed_catalogue, unfit
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import LAST_SECOND, say, spoken_once
from meshnode.web.tokens import name_of, page
from protocols.records import (
    BindingProposal,
    BindingVote,
    BindingWithdraw,
    MatchingPause,
    PauseBegin,
    PauseEnd,
)
from protocols.records.genesis import MAX_BINDING_TEXT_BYTES
from protocols.records.governance import MAX_REASON_BYTES
from protocols.records.statements import RECORD_ID_BYTES
from zencode.binding import BindingTreeError, binding_hash, decode, encode
from zencode.mistakes import BindingErrors
from zencode.reader import read, read_document
from zencode.terms import TermsError, terms

# A text, in which JSON may write every byte with up to four characters.
MAX_PROPOSAL_BYTES = 4 * MAX_BINDING_TEXT_BYTES
# What a binding may allow: thirty days.
MOST_PAUSE_S = 30 * 86_400
STATUS = ("waiting", "open", "adopted", "begun", "withdrawn", "rejected", "lapsed", "overtaken", "unfit")
CHOICES = {"no": proposals.NO, "yes": proposals.YES, "abstain": proposals.ABSTAIN}
_WORDS = {number: word for word, number in CHOICES.items()}

_PROPOSE = (
    Field("text", f"the binding as it is written, at most {MAX_BINDING_TEXT_BYTES} bytes", asking.text),
    Field("not_before_s", "a UTC second before which it does not begin", asking.number(0, LAST_SECOND), optional=True),
)
_VOTE = (Field("choice", '"yes", "no" or "abstain"', asking.choice(CHOICES)),)
_PAUSE = (
    Field("for_s", "so many seconds; the binding and the ledger bound them", asking.number(1, MOST_PAUSE_S)),
    Field("reason", f"why, for all members to read; at most {MAX_REASON_BYTES} bytes", asking.text),
)


class Governance:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/bindings", with_fresh(self._backend, self.bindings)),
            Route("/api/bindings/history", with_fresh(self._backend, self.history)),
            Route("/api/proposals/{id}", with_fresh(self._backend, self.proposal)),
            Route("/api/proposals", self.propose, methods=["POST"]),
            Route("/api/proposals/{id}/vote", self.vote, methods=["POST"]),
            Route("/api/proposals/{id}/withdraw", self.withdraw, methods=["POST"]),
            Route("/api/matching/pause", self.pause, methods=["POST"]),
            Route("/api/matching/resume", self.resume, methods=["POST"]),
        ]

    async def bindings(self, _request: Request) -> Response:
        """GET /api/bindings: the binding in force, what is proposed or adopted, and the pause of matching if one is
        on.
        """
        machine = self._machine
        found = [(key, row) for key, row in machine.state.proposals.items() if row.status in (*UNDECIDED, ADOPTED)]
        found.sort(key=lambda item: (item[1].height, item[0]))
        now_s = machine.time_s
        facts = machine.rules(now_s).terms
        return answer(
            {
                "time_s": now_s,
                "in_force": machine.rules(now_s).binding.hex(),
                "votes_ppm": facts.votes_ppm,
                "notice_s": facts.notice_s,
                "proposals": [self._row(key, row) for key, row in found],
                "pause": self._pause_row(),
            }
        )

    async def history(self, request: Request) -> Response:
        """GET /api/bindings/history?limit&skip: what was in force from when on, and proposals that are over; newest
        first.
        """
        state = self._machine.state
        over = [
            (row.decided_s, key, row) for key, row in state.proposals.items() if row.status not in (*UNDECIDED, ADOPTED)
        ]
        found, more = page(request, sorted(over, reverse=True, key=lambda item: item[:2]))
        schedule = [{"from_s": start, "binding": row.binding.hex()} for start, row in state.schedule.items()]
        return answer(
            {
                "in_force": list(reversed(schedule)),
                "proposals": [self._row(key, row) for _, key, row in found],
                "next": more,
            }
        )

    async def proposal(self, request: Request) -> Response:
        """GET /api/proposals/{id}: a proposal with its text, who voted how, and whether text and binding agree."""
        key, row = self._asked(request)
        stored = self._machine.state.proposal_texts.get(key)
        problem = await trio.to_thread.run_sync(partial(_problem, self._machine, key, row))
        text = "" if stored is None else stored.text.decode(errors="replace")
        return answer(self._row(key, row) | {"text": text, "problem": problem})

    @takes(_PROPOSE)
    async def propose(self, request: Request) -> Response:
        """POST /api/proposals: put another binding to the vote; this node reads it and says what hinders it."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _PROPOSE, MAX_PROPOSAL_BYTES)
        text = given["text"].encode()
        tree, catalogue, mechanisms = await trio.to_thread.run_sync(partial(_compiled, self._machine, text))
        record = BindingProposal(
            **spoken_once(self._backend, request),
            tree=tree,
            text=text,
            previous=self._machine.rules(self._machine.time_s).binding,
            not_before_s=given.get("not_before_s", 0),
            catalogue=catalogue,
            mechanisms=mechanisms,
        )
        return await say(self._backend, record)

    @takes(_VOTE)
    async def vote(self, request: Request) -> Response:
        """POST /api/proposals/{id}/vote {choice}: this node's member votes. For a text that does not say what the
        binding does, nobody says yes here.
        """
        asking.check_token(request, self._token)
        given = await asking.fields(request, _VOTE)
        key = _id(request)
        row = self._machine.state.proposals.get(key)
        if row is not None and given["choice"] == proposals.YES:
            problem = await trio.to_thread.run_sync(partial(_problem, self._machine, key, row))
            if problem:
                raise _no(problem, "a proposal whose text says what its binding does")
        vote = BindingVote(**spoken_once(self._backend, request), proposal=key, choice=given["choice"])
        return await say(self._backend, vote)

    async def withdraw(self, request: Request) -> Response:
        """POST /api/proposals/{id}/withdraw: take back a proposal of this node's member."""
        asking.check_token(request, self._token)
        record = BindingWithdraw(**spoken_once(self._backend, request), proposal=_id(request))
        return await say(self._backend, record)

    @takes(_PAUSE)
    async def pause(self, request: Request) -> Response:
        """POST /api/matching/pause {for_s, reason}: no orders meet until it ends (administrators)."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _PAUSE)
        # The longest pause counts from the block that carries it, whose time is no earlier than the last one's.
        until_s = min(self._backend.clock.now_s() + given["for_s"], self._machine.time_s + self._longest_s())
        step = PauseBegin(until_s=until_s, reason=given["reason"])
        return await say(self._backend, MatchingPause(**spoken_once(self._backend, request), step=step))

    async def resume(self, request: Request) -> Response:
        """POST /api/matching/resume: orders meet again (administrators)."""
        asking.check_token(request, self._token)
        return await say(self._backend, MatchingPause(**spoken_once(self._backend, request), step=PauseEnd()))

    # --- rows

    @property
    def _machine(self) -> Machine:
        return self._backend.machine

    def _longest_s(self) -> int:
        """How long this node's member may pause; of one who may not the ledger decides."""
        machine = self._machine
        allowed = machine.rules(machine.time_s).pausing
        return pausing.longest(machine.state, self._backend.account, allowed) or MAX_PAUSE_S

    def _asked(self, request: Request) -> tuple[bytes, Proposal]:
        key = _id(request)
        row = self._machine.state.proposals.get(key)
        if row is None:
            raise Faults(404, Fault("proposal id", key.hex(), "a proposal, as /api/bindings lists them"))
        return key, row

    def _pause_row(self) -> dict[str, Any] | None:
        row = pausing.pause(self._machine.state)
        if row is None:
            return None
        return msgspec.structs.asdict(row) | {
            "account": row.account.hex(),
            "by": name_of(self._backend, row.account) or "the binding",
        }

    def _row(self, key: bytes, row: Proposal) -> dict[str, Any]:
        """A proposal as it stands; of one that is decided the counts are those of then."""
        state = self._machine.state
        name = partial(name_of, self._backend)
        tally = proposals.tally(state, key, row)
        decided = row.status not in UNDECIDED
        ballots = proposals.ballots(state, key)
        voted = {account for account, _ in ballots}
        may = [account for account, one in state.accounts.items() if proposals.has_vote(one, row)]
        electorate = row.electorate if decided else tally.electorate
        return {
            "proposal": key.hex(),
            "binding": row.binding.hex(),
            "previous": row.previous.hex(),
            "title": _title(self._machine, row.binding),
            "by": name(row.proposer),
            "status": STATUS[row.status],
            "votes_ppm": row.votes_ppm,
            "notice_s": row.notice_s,
            "proposed_s": row.proposed_s,
            "opened_s": row.opened_s,
            "until_s": row.until_s,
            "decided_s": row.decided_s,
            "not_before_s": row.not_before_s,
            "from_s": row.from_s,
            "deferred": row.deferred,
            "electorate": electorate,
            "needed": max(1, proposals.share_of(row.votes_ppm, electorate)),
            "turnout_ppm": row.turnout_ppm,
            "turnout": proposals.share_of(row.turnout_ppm, electorate),
            "yes": row.yes if decided else tally.yes,
            "no": row.no if decided else tally.no,
            "abstained": row.abstained if decided else tally.abstained,
            "votes": [
                {"member": name(account), "choice": _WORDS[one.choice], "time_s": one.time_s}
                for account, one in ballots
            ],
            "outstanding": [] if decided else sorted(name(account) for account in may if account not in voted),
            "catalogue": row.catalogue,
            "mechanisms": [list(pin) for pin in row.mechanisms],
            "nodes": tally.nodes,
            "able": tally.able,
            "unable": _unable(self._machine, row, name),
            "lacks": list(self._machine.lacks(row)),
        }


def _id(request: Request) -> bytes:
    return asking.hex_id(request.path_params["id"], "proposal id", RECORD_ID_BYTES)


def _no(found: str, expected: str) -> Faults:
    return Faults(409, Fault("binding", found, expected))


def _unable(machine: Machine, row: Proposal, name: Callable[[bytes], str]) -> list[str]:
    """Members whose nodes have not declared that they could carry a binding out; nobody once it began or is over."""
    if row.status not in (WAITING, OPEN, ADOPTED):
        return []
    state = machine.state
    nodes = (
        (key_id, key)
        for key_id, key in state.keys.items()
        if key.purpose == rows.PURPOSE_DEVICE and not key.until_height and not state.accounts[key.account].left_s
    )
    return sorted({name(key.account) for key_id, key in nodes if not proposals.can(state, key_id, row)})


def _title(machine: Machine, binding: bytes) -> str:
    """The title of a binding that this node can read; empty of any other."""
    stored = machine.state.bindings.get(binding)
    if stored is None:
        return ""
    try:
        return decode(stored.tree).title
    except BindingTreeError:
        return ""


def _problem(machine: Machine, key: bytes, row: Proposal) -> str:
    """Why nobody should vote for a proposal, as far as this node can tell; empty if nothing speaks against it."""
    stored, tree = machine.state.proposal_texts.get(key), machine.state.bindings.get(row.binding)
    if stored is None or tree is None or row.status == BEGUN:
        return ""
    if missing := machine.lacks(row):
        return f"this node cannot read it: it lacks {', '.join(missing)}; upgrade it, then look again"
    try:
        written = read(stored.text)
    except BindingErrors as error:
        return f"its text is no binding: {error.mistakes[0]}"
    if binding_hash(written) != row.binding:
        return f"its text says another binding ({binding_hash(written).hex()[:16]}) than the one that would begin"
    verdict = unfit(tree.tree, row.catalogue, row.mechanisms, machine.rules(machine.time_s), machine.genesis)
    return SENTENCES[verdict] if verdict != Verdict.ACCEPTED else ""


def _compiled(machine: Machine, text: bytes) -> tuple[bytes, int, tuple[tuple[str, int], ...]]:
    """The tree of a text, and what a node needs to carry it out. Raises Faults: why it cannot be proposed."""
    try:
        document = read_document(text)
        facts = terms(document.binding)
        beyond = hindrances(document.binding, machine.mechanisms, document.language)
    except BindingErrors as error:
        raise Faults(400, *(Fault("text", shown(str(one)), "a binding") for one in error.mistakes)) from error
    except TermsError as error:
        raise Faults(400, Fault("text", shown(str(error)), "a binding that can be carried out")) from error
    if beyond:
        raise _no(f"this version does not carry out: {'; '.join(beyond)}", "sentences that it carries out")
    tree = encode(document.binding)
    catalogue, mechanisms = needed_catalogue(document.binding), needed_abilities(document.binding, facts)
    verdict = unfit(tree, catalogue, mechanisms, machine.rules(machine.time_s), machine.genesis)
    if verdict != Verdict.ACCEPTED:
        raise _no(SENTENCES[verdict], "a binding that could take the place of the one in force")
    return tree, catalogue, mechanisms
