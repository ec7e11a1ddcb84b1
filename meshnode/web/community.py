"""Community: the endpoints about members and validators - who they are, and how that is changed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode import roster
from meshnode.ledger import validators
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.speaking import account_of, say, spoken_once
from protocols.records import Leave

_WORDS = '"add", "remove" or "mode"'
_CHANGE = (
    Field("action", _WORDS, asking.choice({name: place for place, name in enumerate(roster.ACTIONS)})),
    Field("who", 'a member\'s name, a device key in hex, or "majority" or "byzantine"', asking.text),
    Field("anyway", "1 to add a node that is not known to have caught up, else 0", asking.number(0, 1)),
)
_LEAVE = (Field("member", "a member's name or account id", asking.text),)


class Community:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/members", self.members),
            Route("/api/members/leave", self.leave, methods=["POST"]),
            Route("/api/validators", self.validators),
            Route("/api/validators", self.change, methods=["POST"]),
        ]

    async def members(self, _request: Request) -> Response:
        """GET /api/members: {"members": everybody who is or was one, by name}."""
        return answer({"members": roster.members(self._backend.machine)})

    async def validators(self, _request: Request) -> Response:
        """GET /api/validators: who validates and who could, as this node knows it (`meshnode.roster.Roster`)."""
        return answer(self._backend.roster())

    @takes(_LEAVE)
    async def leave(self, request: Request) -> Response:
        """POST /api/members/leave {member}: a membership ends; your own, or as administrator anybody's."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _LEAVE)
        account = account_of(self._backend, given["member"], "member")
        keys = self._backend.machine.state.keys
        voting = validators.key_ids(self._backend.machine.state, self._backend.machine.height)
        if any(key_id in voting and row.account == account for key_id, row in keys.items()):
            raise _no(
                f"{given['member']}'s node is a validator; first: meshnode validators remove {given['member']}",
                "a member whose node does not validate",
            )
        return await say(self._backend, Leave(**spoken_once(self._backend, request), account=account))

    @takes(_CHANGE)
    async def change(self, request: Request) -> Response:
        """POST /api/validators {action, who, anyway}: one step; it takes effect when a block has announced it."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _CHANGE)
        action, who = list(roster.ACTIONS)[given["action"]], given["who"]
        backend = self._backend
        if not validators.may_decide(backend.machine.state, backend.account):
            raise _no("only an administrator may do this", "the node of an administrator")
        if backend.machine.quorum != validators.decided(backend.machine.state):
            raise _no("an earlier change of the validators is not in force yet; try again in a moment", "one at a time")
        made = roster.change(backend.machine, action, who, spoken_once(backend, request))
        if isinstance(made, str):
            raise Faults(400, Fault("who", shown(who), made))
        if action == "add" and not given["anyway"]:
            self._check_caught_up(who)
        return await say(self._backend, made)

    def _check_caught_up(self, who: str) -> None:
        """A validator that is far behind, or away, is a vote that is missing."""
        key = roster.device_of(self._backend.machine, who, voting=False)
        assert key is not None, "the record could not have been made"
        found = self._backend.roster()
        seat = next(seat for seat in found.seats if seat.device_key == key.hex())
        if seat.absent_s or seat.height < 0:
            raise _no(
                f"{seat.member}'s node has not been seen from here; start it, or add it all the same with --anyway",
                "a node that is connected",
            )
        if not seat.caught_up:
            raise _no(
                f"{seat.member}'s node is at height {seat.height}, this one at {found.height}; "
                "wait until it has caught up, or add it all the same with --anyway",
                f"at most {roster.CAUGHT_UP_BLOCKS} blocks behind",
            )


def _no(found: str, expected: str) -> Faults:
    return Faults(409, Fault("record", found, expected))
