"""Terms: the view of a binding that the state machine works with - plain numbers and names.

Made from the tree alone, never from text, and the same on every node. What a
binding leaves unsaid has the default written beside the field. What it says and
this view does not carry is listed in `beyond`, so that nothing is passed over in
silence: a node that carries out less than the binding says can say so.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zencode import sentences as s
from zencode.binding import Binding, Block, Statement
from zencode.kinds import DAY_S, WHOLE_PPM
from zencode.lint import TRADED, errors
from zencode.packages import FIRST_ID
from zencode.sentences import BY_ID

#: Names of mechanisms, as the market knows them.
ORDER_MECHANISMS = {
    s.PAY_AS_CLEAR: "pay-as-clear",
    s.ORDER_BOOK: "continuous-order-book",
    s.FALLING: "falling-auction",
}
SHARING_MECHANISMS = {s.MID_MARKET: "mid-market-rate", s.FIXED_SHARES: "static", s.BY_USE: "pro-rata"}

DEFAULT_PERIOD_S = 900
#: Readings cross a mesh in seconds; two minutes let a node restart without an estimate.
DEFAULT_GRACE_S = 120
#: Long enough for a weekend without anybody at home to plug the node in again.
DEFAULT_CORRECTIONS_S = 2 * DAY_S
DEFAULT_NOTICE_S = 30 * DAY_S
DEFAULT_FUND = "community fund"

#: The events whose actions have fields.
_EVENTS = (s.ORDER, s.PERIOD_CLOSES, s.BILL_DUE, s.METER_SILENT, s.LEAVE)
_VERDICTS = {s.ACCEPT: "accept", s.REFUSE: "refuse", s.ASK: "ask"}


class TermsError(ValueError):
    """A binding that cannot be carried out, with the reasons."""


class JoinRule(Struct, frozen=True):
    """What is done with a request to join as `role` that meets all needs.

    `verdict` is "accept", "refuse" or "ask". Rules are tried in order and the
    first whose needs are met decides; a request that meets none is refused.
    `ask_ppm` and `ask_within_s` are of "ask", else 0; `deposit_u` is held on joining.
    """

    role: str
    verdict: str
    credentials: tuple[str, ...] = ()
    substations: tuple[str, ...] = ()
    ask_ppm: int = 0
    ask_within_s: int = 0
    deposit_u: int = 0


class Visibility(Struct, frozen=True):
    """`view` is shown to (`shown`) or hidden from `role`; hiding wins over showing."""

    shown: bool
    role: str
    view: str


class Terms(Struct, frozen=True):
    """A binding in numbers.

    Units: `_u_kwh` micro-units of the currency per kWh, `_u` micro-units, `_ppm` and
    the shares of splits parts per million, `_s` seconds, `_wh` watt-hours.
    """

    currency: str = ""
    """The code of the currency; "" only where the binding has no price or amount."""
    settlement_period_s: int = DEFAULT_PERIOD_S
    grace_s: int = DEFAULT_GRACE_S
    """A period settles this long after its end, or when every meter has reported."""
    correction_deadline_s: int = DEFAULT_CORRECTIONS_S
    """After the end of a period."""
    billing_months: int = 1
    billing_s: int = 0
    """The billing period is so many months, or so many seconds: one of the two is 0."""
    grid_price_u_kwh: int = 0
    """0 where the binding does not say: grid energy is then left to the suppliers."""
    feed_in_price_u_kwh: int = 0
    order_mechanism: str | None = None
    """A value of ORDER_MECHANISMS; None refuses orders."""
    sharing_mechanism: str | None = None
    """A value of SHARING_MECHANISMS; None leaves what orders do not cover to the grid."""
    allocation_shares: tuple[tuple[str, int], ...] = ()
    """Member and share, sorted by member; they sum to a million where the mechanism is static."""
    offer_unused_again: bool = False
    """What a member's share exceeds the member's use goes to the others, by their use."""
    price_floor_u_kwh: int | None = None
    price_cap_u_kwh: int | None = None
    max_order_wh: int | None = None
    fee_u_kwh: int = 0
    """On every kWh that one member delivers to another; the buyer pays it."""
    fee_split: tuple[tuple[str, int], ...] = ((DEFAULT_FUND, WHOLE_PPM),)
    """Recipients of the network fee; the shares sum to a million."""
    member_fee_u: int = 0
    member_fee_months: int = 0
    member_fee_s: int = 0
    """The membership fee is due every so many months, or so many seconds; all 0 without one."""
    member_fee_split: tuple[tuple[str, int], ...] = ((DEFAULT_FUND, WHOLE_PPM),)
    votes_ppm: int = WHOLE_PPM
    """A new binding needs at least this share of the votes; all of them where nothing is said."""
    notice_s: int = DEFAULT_NOTICE_S
    silent_s: int | None = None
    """After this long without a reading the silence is acted on; None never does."""
    estimate_days: int | None = None
    """A missing reading is estimated from so many similar days; None leaves it open."""
    warn_roles: tuple[str, ...] = ()
    """Who is warned of a silent meter."""
    net_debts: bool = False
    keep_open_months: int = 0
    keep_open_s: int = 0
    """An account stays open so long after its member left."""
    roles: tuple[str, ...] = ()
    """Roles that exist without anybody joining as them, sorted."""
    join_rules: tuple[JoinRule, ...] = ()
    visibility: tuple[Visibility, ...] = ()
    beyond: tuple[str, ...] = ()
    """Names of the catalogue's statements that this view does not carry, in its order. What statements of packages
    do, their packages know."""


def terms(binding: Binding) -> Terms:
    """The terms of a binding.

    Raises:
        TermsError: `lint` finds an error in it; the message has all reasons.
    """
    wrong = errors(binding)
    if wrong:
        raise TermsError("; ".join(finding.reason for finding in wrong))
    view = _View()
    for statement in (*binding.rules, *binding.givens):
        view.take_fact(statement)
    for block in binding.blocks:
        view.take_block(block)
    return view.terms()


#: Rule or given -> the field of each of its slots.
_FACTS: dict[int, tuple[str, ...]] = {
    s.CURRENCY_IS: ("currency",),
    s.CHANGES: ("votes_ppm", "notice_s"),
    s.PERIOD: ("settlement_period_s",),
    s.GRACE: ("grace_s",),
    s.CORRECTIONS: ("correction_deadline_s",),
    s.GRID_PRICE: ("grid_price_u_kwh",),
    s.FEED_IN: ("feed_in_price_u_kwh",),
    # There is one version and one way to round.
    s.VERSION: (),
    s.ROUNDING: (),
}
#: Action with one slot -> its field.
_LIMITS: dict[int, str] = {
    s.FLOOR: "price_floor_u_kwh",
    s.CAP: "price_cap_u_kwh",
    s.MAX_ORDER: "max_order_wh",
}
#: Action without a slot -> its field.
_SWITCHES = {s.NET: "net_debts", s.REOFFER: "offer_unused_again"}
_SPLITS = {"network fee": "fee_split", "membership fee": "member_fee_split"}


class _View:
    """Fields as they are found, and what no field takes."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._join_rules: list[JoinRule] = []
        self._visibility: list[Visibility] = []
        self._roles: list[str] = []
        self._allocations: list[tuple[str, int]] = []
        self._beyond: set[int] = set()

    def terms(self) -> Terms:
        return Terms(
            **self._fields,
            allocation_shares=tuple(self._allocations),
            roles=tuple(self._roles),
            join_rules=tuple(self._join_rules),
            visibility=tuple(self._visibility),
            beyond=tuple(BY_ID[id].name for id in sorted(self._beyond) if id < FIRST_ID),
        )

    def take_fact(self, fact: Statement) -> None:
        if fact.id in _FACTS:
            self._fields.update(zip(_FACTS[fact.id], fact.slots, strict=False))
        elif fact.id == s.BILLING:
            self._take_cycle("billing", fact.slots[0])
        elif fact.id == s.ROLE_IS:
            self._roles.append(str(fact.slots[0]))
        elif fact.id == s.ALLOCATION:
            self._allocations.append((str(fact.slots[0]), _number(fact.slots[1])))
        else:
            self._beyond.add(fact.id)

    def take_block(self, block: Block) -> None:
        parts = (block.event, *block.conditions, *block.actions)
        if block.event.id == s.JOIN:
            self._take_join(block)
        elif block.conditions or block.event.id not in _EVENTS:
            # A field holds always or never, so what holds at times has none.
            self._beyond.update(part.id for part in parts)
        elif block.event.id == s.METER_SILENT:
            self._take_silence(block)
        else:
            self._take_actions(block)

    def _take_join(self, block: Block) -> None:
        verdict = next((action for action in block.actions if action.id in _VERDICTS), None)
        self._beyond.update(part.id for part in block.actions if part.id not in (*_VERDICTS, s.DEPOSIT))
        if verdict is None:
            return
        ask = verdict.slots if verdict.id == s.ASK else (0, 0)
        deposits: Any = [action.slots[0] for action in block.actions if action.id == s.DEPOSIT]
        rule = JoinRule(
            role=str(block.event.slots[0]),
            verdict=_VERDICTS[verdict.id],
            credentials=_names(block, s.SHOWS),
            substations=_names(block, s.BEHIND),
            ask_ppm=_number(ask[0]),
            ask_within_s=_number(ask[1]),
            deposit_u=sum(deposits),
        )
        self._join_rules.append(rule)

    def _take_silence(self, block: Block) -> None:
        if "silent_s" in self._fields and self._fields["silent_s"] != block.event.slots[0]:
            # One threshold has a field; a second one is a second stage.
            self._beyond.update((block.event.id, *(action.id for action in block.actions)))
            return
        self._fields["silent_s"] = block.event.slots[0]
        self._take_actions(block)

    def _take_actions(self, block: Block) -> None:
        for action in block.actions:
            if not self._take_action(block.event.id, action):
                self._beyond.add(action.id)

    def _take_action(self, event: int, action: Statement) -> bool:
        """Put an action at an event into its field; False when it has none."""
        slots: Any = action.slots
        if action.id in _LIMITS:
            self._fields[_LIMITS[action.id]] = slots[0]
        elif action.id in ORDER_MECHANISMS and event == s.ORDER:
            self._fields["order_mechanism"] = ORDER_MECHANISMS[action.id]
        elif action.id in SHARING_MECHANISMS:
            self._fields["sharing_mechanism"] = SHARING_MECHANISMS[action.id]
        elif action.id == s.FEE_PER_KWH and slots[1] == TRADED:
            self._fields["fee_u_kwh"] = slots[0]
        elif action.id == s.FEE_PER_CYCLE:
            self._fields["member_fee_u"] = slots[0]
            self._take_cycle("member_fee", slots[1])
        elif action.id == s.SPLIT and slots[0] in _SPLITS:
            self._fields[_SPLITS[slots[0]]] = tuple((recipient, ppm) for ppm, recipient in slots[1])
        elif action.id == s.ESTIMATE:
            self._fields["estimate_days"] = slots[0]
        elif action.id == s.WARN and event == s.METER_SILENT:
            self._fields["warn_roles"] = (*self._fields.get("warn_roles", ()), slots[0])
        elif action.id in _SWITCHES:
            self._fields[_SWITCHES[action.id]] = True
        elif action.id == s.KEEP_OPEN:
            self._take_cycle("keep_open", slots[0])
        elif action.id == s.LET:
            self._visibility.append(Visibility(True, slots[0], slots[1]))
        elif action.id == s.HIDE:
            self._visibility.append(Visibility(False, slots[1], slots[0]))
        else:
            return False
        return True

    def _take_cycle(self, field: str, cycle: Any) -> None:
        self._fields[f"{field}_months"], self._fields[f"{field}_s"] = cycle


def _names(block: Block, condition: int) -> tuple[str, ...]:
    return tuple(str(part.slots[0]) for part in block.conditions if part.id == condition)


def _number(value: Any) -> int:
    number: int = value
    return number
