"""Tables: scripts about quorums and memberships, which need no nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocols.raft.membership import (
    Membership,
    MembershipError,
    enter_joint,
    leave_joint,
    parse_changes,
    simple,
)
from protocols.raft.quorum import EVERYTHING, Quorum, VoteResult
from protocols.raft.tracker import Tracker
from tests.raft_scripts.datadriven import Case, ScriptError

_VERDICT = {VoteResult.PENDING: "VotePending", VoteResult.LOST: "VoteLost", VoteResult.WON: "VoteWon"}
_VOTES = {"y": True, "n": False}


class QuorumTable:
    """Runs `vote` and `committed`: cfg and cfgj are the two halves, then one value per voter."""

    def run(self, case: Case) -> str:
        first = list(dict.fromkeys(case.numbers("cfg")))
        both = "cfgj" in case.options
        second = [] if case.options.get("cfgj") == ("zero",) else list(dict.fromkeys(case.numbers("cfgj")))
        quorum = Quorum(frozenset(first), frozenset(second))
        voters = list(dict.fromkeys(first + second))
        values = case.options.get("votes" if case.command == "vote" else "idx", ())
        if len(values) != len(voters):
            raise ScriptError(f"mismatched input for voters {voters}: {values}")
        given = {voter: value for voter, value in zip(voters, values, strict=True) if value != "_"}
        if case.command == "vote":
            return self._vote(quorum, {voter: _VOTES[value] for voter, value in given.items()})
        return self._committed(quorum, {voter: int(value) for voter, value in given.items()}, both)

    def _vote(self, quorum: Quorum, votes: Mapping[int, bool]) -> str:
        verdict = quorum.vote(votes)
        if Quorum(quorum.outgoing, quorum.incoming).vote(votes) is not verdict:
            return "the halves of the quorum are not treated alike\n"
        return _VERDICT[verdict] + "\n"

    def _committed(self, quorum: Quorum, stored: Mapping[int, int], both: bool) -> str:
        index = quorum.committed(stored)
        # The same again by other roads: turned round, joint with itself, and by counting.
        if Quorum(quorum.outgoing, quorum.incoming).committed(stored) != index:
            return "the halves of the quorum are not treated alike\n"
        if not both and Quorum(quorum.incoming, quorum.incoming).committed(stored) != index:
            return "joint with itself it commits something else\n"
        if min(map(_counted, (quorum.incoming, quorum.outgoing), (stored, stored))) != index:
            return "counting gives something else\n"
        return _bars(quorum, stored) + ("∞" if index == EVERYTHING else str(index)) + "\n"


def _counted(voters: frozenset[int], stored: Mapping[int, int]) -> int:
    """The definition itself: the largest index that more than half have reached."""
    if not voters:
        return EVERYTHING
    reached = [0, *stored.values()]
    return max(index for index in reached if sum(stored.get(voter, 0) >= index for voter in voters) * 2 > len(voters))


def _bars(quorum: Quorum, stored: Mapping[int, int]) -> str:
    """One line per voter, its bar as long as the number of voters that it is ahead of."""
    voters = sorted(quorum.ids)
    if not voters:
        return "<empty majority quorum>"
    width = len(voters)
    text = " " * width + "    idx\n"
    for voter in voters:
        index = stored.get(voter, 0)
        ahead = sum(stored.get(other, 0) < index for other in voters)
        bar = "x" * ahead + ">" + " " * (width - ahead) if voter in stored else "?" + " " * width
        text += f"{bar} {index:5d}    (id={voter})\n"
    return text


class MembershipTable:
    """Runs `simple`, `enter-joint` and `leave-joint` on one membership that grows from nothing.

    The log is one entry longer with every command, so that `next` shows in which one a session began.
    """

    def __init__(self) -> None:
        self._tracker = Tracker(max_inflight=10, max_inflight_bytes=0)
        self._last_index = 0

    def run(self, case: Case) -> str:
        if case.command not in _COMMANDS:
            raise ScriptError(f"unknown command {case.command}")
        try:
            changed = _COMMANDS[case.command](self._tracker.membership, case)
        except MembershipError as error:
            return f"{error}\n"
        else:
            self._tracker.switch(changed, self._last_index)
        finally:
            self._last_index += 1
        lines = [f"{node}: {progress}" for node, progress in sorted(self._tracker.progress.items())]
        return "".join(f"{line}\n" for line in [str(changed), *lines])


def _simple(membership: Membership, case: Case) -> Membership:
    return simple(membership, parse_changes(case.input.split()))


def _enter_joint(membership: Membership, case: Case) -> Membership:
    changes = parse_changes(case.input.split())
    return enter_joint(membership, changes, auto_leave=case.flag("autoleave"))


def _leave_joint(membership: Membership, case: Case) -> Membership:
    if case.input.split():
        raise ScriptError("leave-joint takes no input")
    return leave_joint(membership)


_COMMANDS: dict[str, Callable[[Membership, Case], Membership]] = {
    "simple": _simple,
    "enter-joint": _enter_joint,
    "leave-joint": _leave_joint,
}
