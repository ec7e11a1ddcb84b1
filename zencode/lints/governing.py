"""Governing: lints of views, votes, versions and times."""

from __future__ import annotations

from zencode import sentences as s
from zencode.binding import Binding
from zencode.kinds import DAY_S, WHOLE_PPM
from zencode.lints.finding import Findings, actions, error, events, slot, warning
from zencode.versions import needs

#: Sums of many; everything else is about somebody.
_SUMS = ("period totals", "monthly totals", "session totals")
_EVERYONE = "everyone"


def contradicting_views(binding: Binding) -> Findings:
    """The same thing shown to and hidden from the same role."""
    shown = {(slot(a, "role"), slot(a, "view")) for a in actions(binding, s.LET)}
    for action in actions(binding, s.HIDE):
        role, view = slot(action, "role"), slot(action, "view")
        if (role, view) in shown:
            reason = f"'{view}' is both shown to '{role}' and hidden: hiding wins"
            yield warning("let-and-hide", reason, action)


def unseen_bills(binding: Binding) -> Findings:
    """Bills whose data nobody may see."""
    hidden = {(slot(a, "role"), slot(a, "view")) for a in actions(binding, s.HIDE)}
    shown = {(slot(a, "role"), slot(a, "view")) for a in actions(binding, s.LET)}
    left = [(role, view) for role, view in shown - hidden if (_EVERYONE, view) not in hidden]
    due = events(binding, s.BILL_DUE)
    if due and not left:
        yield warning("nobody-sees", "nobody is let see what a bill is made of: no one could check it", due[0])


def published(binding: Binding) -> Findings:
    """What is about a person made public."""
    for action in actions(binding, s.PUBLISH):
        if slot(action, "view") not in _SUMS:
            reason = f"'{slot(action, 'view')}' is about one member; only sums of many can be published"
            yield error("published-person", reason, action)


def governance(binding: Binding) -> Findings:
    """A binding that too few could change, and votes that never end."""
    changes = binding.given(s.CHANGES)
    if changes is None:
        reason = "nothing says how this binding changes: all members must agree, with 30 days notice"
        yield warning("changes-unsaid", reason)
    elif slot(changes, "votes") * 2 < WHOLE_PPM:
        yield warning("below-half", "a minority could change the binding against the others", changes)
    votes = events(binding, s.VOTE_OPENS)
    if votes and not actions(binding, s.VOTE_TIME):
        yield warning(
            "endless-vote", "nothing says when a vote closes: it stays open until the notice is over", votes[0]
        )


def versions(binding: Binding) -> Findings:
    """A binding that says an older catalogue than its sentences need."""
    said = binding.given(s.CATALOGUE)
    if said and slot(said, "version") < needs(binding):
        reason = f"its sentences need version {needs(binding)} of the catalogue"
        yield error("older-catalogue", reason, said)


def times(binding: Binding) -> Findings:
    """Periods and deadlines that do not fit together."""
    period, grace = binding.given(s.PERIOD), binding.given(s.GRACE)
    corrections = binding.given(s.CORRECTIONS)
    if period and DAY_S % slot(period, "period"):
        yield error("uneven-period", "a day does not hold a whole number of these periods", period)
    if grace and corrections and slot(corrections, "deadline") < slot(grace, "grace"):
        reason = "corrections end before the period has settled: none could ever count"
        yield warning("late-corrections", reason, corrections)
