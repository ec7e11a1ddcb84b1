"""Proofs of what is said of membership: who joins and leaves, and what comes with it."""

from __future__ import annotations

from meshnode.ledger import credit
from meshnode.ledger.verdicts import Verdict
from protocols.records import JoinVote
from tests.effects.ledgers import EUR, claim_u, ledger
from tests.effects.proof import Proof
from tests.ledger.chain import Chain, account, member, period_s
from zencode.catalogue import ids

ACCEPTED = Verdict.ACCEPTED
JOIN = "When somebody asks to join as 'prosumer'\n"
WELCOME = f"{JOIN}Then accept the member"


def emil_joins(chain: Chain, **shows: tuple[str, ...]) -> Verdict | list[Verdict]:
    return chain.say(chain.join(member("emil"), **shows))


def join() -> None:
    """Emil may become a prosumer where the binding speaks of prosumers who join, and not where it is silent."""
    assert emil_joins(ledger(WELCOME)) == ACCEPTED
    assert emil_joins(ledger()) == Verdict.ROLE_NOT_ADMITTED
    assert emil_joins(ledger("When somebody asks to join as 'trader'\nThen accept the member")) != ACCEPTED


def accept() -> None:
    """Where the binding accepts, emil is a member when the block is final."""
    chain = ledger(WELCOME)
    assert emil_joins(chain) == ACCEPTED and account("emil") in chain.machine.state.accounts


def refuse() -> None:
    """Whoever shows that he is banned is refused, though the next block would take him."""
    banned = f"{JOIN}If the member shows the credential 'banned'\nThen refuse the member\nEndIf\nThen accept the member"
    chain = ledger(banned)
    assert emil_joins(chain, shows=("banned",)) == Verdict.JOIN_REFUSED
    assert account("emil") not in chain.machine.state.accounts
    assert emil_joins(chain) == ACCEPTED


def shows() -> None:
    """A credential that the administrator has seen opens the door; without it, or with another, it stays shut."""
    asked = f"{JOIN}If the member shows the credential 'verified meter'\nThen accept the member\nEndIf"
    assert emil_joins(ledger(asked), shows=("verified meter",)) == ACCEPTED
    assert emil_joins(ledger(asked), shows=("resident",)) == Verdict.ROLE_NOT_ADMITTED
    assert emil_joins(ledger(asked)) == Verdict.ROLE_NOT_ADMITTED
    # What everybody at the door shows is the invitation itself.
    invited = f"{JOIN}If the member shows the credential 'invitation'\nThen accept the member\nEndIf"
    assert emil_joins(ledger(invited)) == ACCEPTED


BEHIND = f"{JOIN}If the meter is behind the substation 'AC1'\nThen accept the member\nEndIf"


def behind() -> None:
    """Only who lives behind the substation comes in; of whom nobody says where he lives is refused for that reason."""
    assert emil_joins(ledger(BEHIND), behind=("AC1",)) == ACCEPTED
    assert emil_joins(ledger(BEHIND), behind=("AC2",)) == Verdict.ROLE_NOT_ADMITTED
    assert emil_joins(ledger(BEHIND)) == Verdict.FACT_MISSING


def substation() -> None:
    """Where the whole community lies behind one substation nobody has to say so of a newcomer."""
    assert emil_joins(ledger(BEHIND, givens=("the community is behind the primary substation 'AC1'",))) == ACCEPTED
    elsewhere = ledger(BEHIND, givens=("the community is behind the primary substation 'AC2'",))
    assert emil_joins(elsewhere) == Verdict.ROLE_NOT_ADMITTED


ASK = f"{JOIN}Then ask 60 % of members to agree within 2 days"


def vote(chain: Chain, home: str, request: bytes, agrees: int = 1) -> Verdict | list[Verdict]:
    return chain.say(chain.speak(home, JoinVote, request=request, agrees=agrees))


def ask() -> None:
    """Emil waits until two of three have agreed; where one of two says no, or nobody anything in time, he stays out."""
    chain = ledger(ASK)
    request = chain.join(member("emil"))
    assert chain.say(request) == Verdict.MEMBERS_ASKED
    assert vote(chain, "bela", request.record_id) == ACCEPTED and account("emil") not in chain.machine.state.accounts
    assert vote(chain, "carla", request.record_id) == ACCEPTED and account("emil") in chain.machine.state.accounts
    assert vote(chain, "anna", request.record_id) == Verdict.UNKNOWN_REQUEST

    turned_down = ledger(ASK)
    request = turned_down.join(member("emil"))
    turned_down.block(request)
    assert [vote(turned_down, home, request.record_id, agrees=0) for home in ("bela", "carla")] == [ACCEPTED] * 2
    assert vote(turned_down, "anna", request.record_id) == Verdict.UNKNOWN_REQUEST

    forgotten = ledger(ASK)
    request = forgotten.join(member("emil"))
    forgotten.block(request)
    forgotten.block(time_s=forgotten.now_s + 2 * 86_400 + 1)
    assert vote(forgotten, "bela", request.record_id) == Verdict.UNKNOWN_REQUEST
    assert account("emil") not in forgotten.machine.state.accounts


def deposit() -> None:
    """Emil owes the community his deposit when he joins, and has it back when he leaves."""
    chain = ledger(f"{WELCOME}\nAnd hold a deposit of 50 EUR")
    emil_joins(chain)
    assert claim_u(chain, "emil") == -50 * EUR
    assert chain.say(chain.leave("emil")) == ACCEPTED
    assert claim_u(chain, "emil") == 0
    free = ledger(WELCOME)
    emil_joins(free)
    assert claim_u(free, "emil") == 0


def credit_limit() -> None:
    """Emil may owe 40 EUR from the day he joins; without the sentence nobody bounds it."""
    found = []
    for sentence in ("\nAnd set a credit limit of 40 EUR", ""):
        chain = ledger(WELCOME + sentence)
        emil_joins(chain)
        found.append(credit.limits(chain.machine.state, account("emil"), chain.now_s).get(credit.COMMUNITY))
    assert found == [40 * EUR, None]


def role() -> None:
    """An auditor joins without a rule for auditors where there is such a role; where there is none he does not."""
    auditor = member("emil", ("auditor",))
    known = ledger(WELCOME, givens=("there is a role 'auditor'",))
    assert known.say(known.join(auditor)) == ACCEPTED
    unknown = ledger(WELCOME)
    assert unknown.say(unknown.join(auditor)) == Verdict.ROLE_NOT_ADMITTED


def late_correction(*blocks: str, days: int = 0) -> tuple[Verdict | list[Verdict], int]:
    """What becomes of a correction of emil's, so long after he left; and what he was charged after it."""
    chain = ledger(WELCOME, *blocks, givens=("corrections are accepted for 30 days",))
    chain.block(chain.join(member("emil")))
    chain.block(chain.reading("emil", 0, 0), time_s=period_s(1) + 1)
    chain.block(chain.leave("emil"))
    chain.block(chain.reading("emil", 1, 1000), time_s=period_s(2) + 1)
    chain.block(time_s=period_s(3) + 200)
    said = chain.say(chain.reading("emil", 1, 2000, version=1), time_s=chain.now_s + days * 86_400)
    return said, -claim_u(chain, "emil")


def leave() -> None:
    """What the binding says of leaving holds for who leaves: with its sentence the account is open a day later."""
    assert late_correction("When a member leaves\nThen keep the contract open for 7 days", days=1)[0] == ACCEPTED
    assert late_correction(days=1)[0] == Verdict.ACCOUNT_CLOSED


def keep_open() -> None:
    """A correction a day after emil has left costs him another kWh; after the contract has closed it comes too late."""
    week = "When a member leaves\nThen keep the contract open for 7 days"
    assert late_correction(week, days=1) == (ACCEPTED, 600_000)
    assert late_correction(week, days=8) == (Verdict.ACCOUNT_CLOSED, 300_000)
    assert late_correction(days=1) == (Verdict.ACCOUNT_CLOSED, 300_000)


PROOFS: dict[int, Proof] = {
    ids.JOIN: join,
    ids.ACCEPT: accept,
    ids.REFUSE: refuse,
    ids.SHOWS: shows,
    ids.BEHIND: behind,
    ids.SUBSTATION: substation,
    ids.ASK: ask,
    ids.DEPOSIT: deposit,
    ids.CREDIT_LIMIT: credit_limit,
    ids.ROLE_IS: role,
    ids.LEAVE: leave,
    ids.KEEP_OPEN: keep_open,
}
