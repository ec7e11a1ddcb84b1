"""Sight: what the binding lets a node show of others to its own member, and of everybody to whoever asks.

What nothing is said of is shown to members. What is hidden from a role that the member has is not shown, though an
administrator sees it; what is kept sealed is shown to its owner and to the roles that are let see it. Everybody's
own data is its own.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from starlette.requests import Request

from meshnode.ledger.knowledge import facts_of
from meshnode.ledger.members import ADMINISTRATOR
from meshnode.machine import Machine
from meshnode.views import TradeRow
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults
from meshnode.web.speaking import account_asked
from zencode.binding import Statement
from zencode.catalogue import ids

EVERYONE: Final = "everyone"
OTHERS: Final = "other members"
TRADES: Final = ("all trades",)
NAMES: Final = ("order owner names",)
CURVES: Final = ("readings", "readings of other homes", "load curves", "curves of other homes")
"""What energy of another home is called; whoever may not see one of them sees no other one either."""
PERIODS: Final = ("period totals",)
MONTHS: Final = ("monthly totals",)
SESSIONS: Final = ("session totals",)
PLATES: Final = ("car plate",)
BILLS: Final = ("own bill",)


class Sight:
    """What one account may see."""

    def __init__(self, machine: Machine, account: bytes) -> None:
        row = machine.state.accounts.get(account)
        self._roles = frozenset() if row is None else frozenset(row.roles)
        facts, blocks = facts_of(machine.state, account, machine.time_s), machine.rules().blocks
        self._said: tuple[Statement, ...] = tuple(
            action for event in ids.VIEW_EVENTS for action in blocks.at(event, facts).actions
        )

    def of_others(self, *views: str) -> bool:
        """Whether it sees all of these of other members."""
        audience = {EVERYONE, OTHERS, *self._roles}
        return all(self._sees(view, audience) for view in views)

    def published(self, view: str) -> int | None:
        """Sums of at least how many members anybody may see, also outside; None: nobody outside sees any."""
        found: list[Any] = [action.slots[1] for action in self._said if action.id == ids.PUBLISH]
        names = [action.slots[0] for action in self._said if action.id == ids.PUBLISH]
        return min((least for name, least in zip(names, found, strict=True) if name == view), default=None)

    def _sees(self, view: str, audience: set[str]) -> bool:
        hidden = any(one.id == ids.HIDE and one.slots[0] == view and one.slots[1] in audience for one in self._said)
        if hidden and ADMINISTRATOR not in self._roles:
            return False
        sealed = any(one.id == ids.SEAL and one.slots[0] == view for one in self._said)
        let = any(one.id == ids.LET and one.slots[1] == view and one.slots[0] in audience for one in self._said)
        return let or not sealed


def sight_of(backend: Backend) -> Sight:
    """What this node's member may see now."""
    return Sight(backend.machine, backend.account)


def account_seen(backend: Backend, request: Request, views: tuple[str, ...], default: str = "me") -> bytes | None:
    """The account that the query names, as far as it may be seen: of «all» (None) the own one is left.

    Raises:
        Faults: 400 nobody's, 403 the binding does not show it.
    """
    asked = account_asked(backend, request, default)
    if asked == backend.account or sight_of(backend).of_others(*views):
        return asked
    if asked is None:
        return backend.account
    raise not_shown(views)


def not_shown(views: tuple[str, ...]) -> Faults:
    """The answer to whoever asks for what the binding does not show."""
    said = " or ".join(f"'{view}'" for view in views)
    return Faults(403, Fault("binding", f"{said} of others", "what the binding lets this node's member see"))


def nameless(trades: list[TradeRow], own: str) -> list[TradeRow]:
    """Trades without the accounts and names of others; own: the account that stays, in hex."""
    found = []
    for row in trades:
        seller = {} if row.seller == own else {"seller": "", "seller_name": ""}
        buyer = {} if row.buyer == own else {"buyer": "", "buyer_name": ""}
        found.append(msgspec.structs.replace(row, **seller, **buyer))
    return found
