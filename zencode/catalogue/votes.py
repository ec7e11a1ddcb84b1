"""Votes: actions for a vote on a new binding."""

from __future__ import annotations

from zencode.catalogue.ids import TURNOUT, VOTE_OPENS, VOTE_TIME
from zencode.catalogue.row import Sentence, Slot, row
from zencode.kinds import DAY_S, DURATION, SHARE
from zencode.languages import Phase

VOTES: tuple[Sentence, ...] = (
    row(
        VOTE_TIME,
        "time of a vote",
        Phase.THEN,
        en="close the vote after {time}",
        it="chiudi la votazione dopo {time}",
        es="cierra la votación tras {time}",
        de="halte die Abstimmung {time} lang offen",
        slots=(Slot("time", DURATION, 3_600),),
        example=(14 * DAY_S,),
        under=(VOTE_OPENS,),
        since=2,
        meaning="A proposal that has not enough votes this long after it was put to the vote is rejected.",
    ),
    row(
        TURNOUT,
        "turnout",
        Phase.THEN,
        en="count the vote only if {share} of members take part",
        it="conta la votazione solo se partecipa il {share} dei membri",
        es="cuenta la votación solo si participa el {share} de los miembros",
        de="werte die Abstimmung nur bei einer Beteiligung von {share}",
        slots=(Slot("share", SHARE),),
        example=(500_000,),
        under=(VOTE_OPENS,),
        since=2,
        meaning="With fewer members voting, for or against, the proposal is rejected.",
    ),
)
