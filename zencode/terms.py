"""Terms: the view of a binding that the state machine works with - plain numbers and names.

Made from the tree alone, never from text, and the same on every node. What a
binding leaves unsaid has the default written beside the field. A field holds always:
what a binding says under a condition has none and is asked for when it happens.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from zencode import facts
from zencode import sentences as s
from zencode.binding import Binding, Block, Statement
from zencode.kinds import DAY_S, WHOLE_PPM
from zencode.lint import TRADED, errors
from zencode.mechanisms import KEYS_WITH_RANKS
from zencode.mechanisms import ORDER_MECHANISMS as ORDER_MECHANISMS
from zencode.mechanisms import SHARING_MECHANISMS as SHARING_MECHANISMS
from zencode.things import THING_EVENTS, Things
from zencode.versions import needs

DEFAULT_PERIOD_S = 900
#: Readings cross a mesh in seconds; two minutes let a node restart without an estimate.
DEFAULT_GRACE_S = 120
#: Long enough for a weekend without anybody at home to plug the node in again.
DEFAULT_CORRECTIONS_S = 2 * DAY_S
DEFAULT_NOTICE_S = 30 * DAY_S
DEFAULT_FUND = "community fund"

#: The events whose actions have fields.
_EVENTS = (s.ORDER, s.PERIOD_CLOSES, s.BILL_DUE, s.METER_SILENT, s.LEAVE, s.VOTE_OPENS, *THING_EVENTS)
_VERDICTS = {s.ACCEPT: "accept", s.REFUSE: "refuse", s.ASK: "ask"}
_VOTING = {s.VOTE_TIME: "closes_s", s.TURNOUT: "turnout_ppm"}


class TermsError(ValueError):
    """A binding that cannot be carried out, with the reasons."""


class JoinRule(Struct, frozen=True):
    """What is done with a request to join as `role` that meets all needs.

    `verdict` is "accept", "refuse" or "ask". Rules are tried in order and the
    first whose needs are met decides; a request that meets none is refused.
    `ask_ppm` and `ask_within_s` are of "ask", else 0; `deposit_u` is held on joining;
    `credit_limit_u` None sets no limit.
    """

    role: str
    verdict: str
    credentials: tuple[str, ...] = ()
    substations: tuple[str, ...] = ()
    ask_ppm: int = 0
    ask_within_s: int = 0
    deposit_u: int = 0
    credit_limit_u: int | None = None


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
    """A value of SHARING_MECHANISMS or a named key; None leaves what orders do not cover to the grid."""
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
    needs_catalogue: int = 1
    """The version of the catalogue that a node must know to follow."""
    time_zone: str = ""
    """Its name in the IANA database; "" leaves it to the genesis."""
    zone_data: str = ""
    """The release of the IANA database; "" leaves it to the genesis."""
    mechanism_versions: tuple[tuple[str, int], ...] = ()
    """Mechanisms of which the binding means a certain version, sorted; version 1 of all others."""
    voting: facts.Voting = facts.Voting()
    substation: str = ""
    collecting: str = ""
    """The company that collects bills."""
    bands: tuple[facts.Band, ...] = ()
    prices: facts.Prices = facts.Prices()
    shares: facts.Shares = facts.Shares()
    assets: tuple[facts.Asset, ...] = ()
    plants: tuple[facts.Plant, ...] = ()
    batteries: tuple[facts.Battery, ...] = ()
    points: tuple[facts.ChargingPoint, ...] = ()
    feeders: tuple[tuple[str, str], ...] = ()
    """Feeder and the meter at its head."""
    critical_meters: tuple[str, ...] = ()
    """Meters of critical loads."""
    grid_feed: str = ""
    """The feed that is 0 while the grid is lost; "" without one."""
    min_order_wh: int | None = None
    own_prices: bool = True
    """Members may set what they sell and buy at beside their orders."""
    partners_first: bool = True
    """Orders may name a partner to be served before all others."""
    levies: tuple[facts.Levy, ...] = ()
    solidarity_ppm: int = 0
    """Of what members earn, for those who have the role."""
    solidarity_role: str = ""
    period_fee_u: int = 0
    """Membership fee of every settlement period, split as `member_fee_split`."""
    moves_money: bool = True
    """False: what is reckoned is shown and no balance changes."""
    published: tuple[tuple[str, int], ...] = ()
    """Views that anybody may see, and of how many members a sum must be."""
    sealed: tuple[str, ...] = ()
    """Views that stand on the ledger as commitments."""


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
    return view.terms(needs(binding))


#: Rule or given -> the field of each of its slots.
_FACTS: dict[int, tuple[str, ...]] = {
    s.CURRENCY_IS: ("currency",),
    s.CHANGES: ("votes_ppm", "notice_s"),
    s.PERIOD: ("settlement_period_s",),
    s.GRACE: ("grace_s",),
    s.CORRECTIONS: ("correction_deadline_s",),
    s.GRID_PRICE: ("grid_price_u_kwh",),
    s.FEED_IN: ("feed_in_price_u_kwh",),
    s.TIME_ZONE: ("time_zone",),
    s.ZONE_DATA: ("zone_data",),
    s.SUBSTATION: ("substation",),
    s.COLLECTING: ("collecting",),
    s.GRID_FEED: ("grid_feed",),
    # There is one version and one way to round; `needs_catalogue` counts what is used, not what is said.
    s.VERSION: (),
    s.ROUNDING: (),
    s.CATALOGUE: (),
}
#: Action -> the field of each of its slots.
_FIELDS: dict[int, tuple[str, ...]] = {
    s.FLOOR: ("price_floor_u_kwh",),
    s.CAP: ("price_cap_u_kwh",),
    s.MAX_ORDER: ("max_order_wh",),
    s.MIN_ORDER: ("min_order_wh",),
    s.SOLIDARITY: ("solidarity_ppm", "solidarity_role"),
    s.FEE_PER_PERIOD: ("period_fee_u",),
    s.ESTIMATE: ("estimate_days",),
}
#: Action without a slot -> its field and what it says.
_SWITCHES = {
    s.NET: ("net_debts", True),
    s.REOFFER: ("offer_unused_again", True),
    s.NO_OWN_PRICES: ("own_prices", False),
    s.NO_PARTNERS: ("partners_first", False),
    s.MOVE_NOTHING: ("moves_money", False),
}
_SPLITS = {"network fee": "fee_split", "membership fee": "member_fee_split"}
#: Action -> the field that has one entry for each time it is said.
_LISTS = {s.PUBLISH: "published", s.SEAL: "sealed", s.LEVY: "levies"}


class _View:
    """Fields as they are found, and what nobody carries out."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._join_rules: list[JoinRule] = []
        self._visibility: list[Visibility] = []
        self._roles: list[str] = []
        self._allocations: list[tuple[str, int]] = []
        self._versions: list[tuple[str, int]] = []
        self._voting: dict[str, Any] = {}
        self._things = Things()

    def terms(self, catalogue: int) -> Terms:
        return Terms(
            **self._fields,
            **self._things.fields(),
            allocation_shares=tuple(self._allocations),
            mechanism_versions=tuple(self._versions),
            voting=facts.Voting(**self._voting),
            roles=tuple(self._roles),
            join_rules=tuple(self._join_rules),
            visibility=tuple(self._visibility),
            needs_catalogue=catalogue,
        )

    def take_fact(self, fact: Statement) -> None:
        slots: Any = fact.slots
        if fact.id in _FACTS:
            self._fields.update(zip(_FACTS[fact.id], slots, strict=False))
        elif fact.id == s.BILLING:
            self._take_cycle("billing", slots[0])
        elif fact.id == s.ROLE_IS:
            self._roles.append(slots[0])
        elif fact.id == s.ALLOCATION:
            self._allocations.append(slots)
        elif fact.id == s.MECHANISM:
            self._versions.append(slots)
        elif fact.id == s.MAY_PAUSE:
            self._voting["pause_role"], self._voting["pause_s"] = slots
        else:
            self._things.take_fact(fact)

    def take_block(self, block: Block) -> None:
        if block.event.id == s.JOIN:
            self._take_join(block)
        elif block.event.id == s.METER_SILENT and not block.conditions:
            self._take_silence(block)
        # A field holds always or never; what holds at times is asked for when it happens.
        elif not block.conditions and block.event.id in _EVENTS:
            self._take_actions(block)

    def _take_join(self, block: Block) -> None:
        verdict = next((action for action in block.actions if action.id in _VERDICTS), None)
        if verdict is None:
            return
        ask = verdict.slots if verdict.id == s.ASK else (0, 0)
        deposits: Any = [action.slots[0] for action in block.actions if action.id == s.DEPOSIT]
        limits: Any = [action.slots[0] for action in block.actions if action.id == s.CREDIT_LIMIT]
        rule = JoinRule(
            role=str(block.event.slots[0]),
            verdict=_VERDICTS[verdict.id],
            credentials=_names(block, s.SHOWS),
            substations=_names(block, s.BEHIND),
            ask_ppm=_number(ask[0]),
            ask_within_s=_number(ask[1]),
            deposit_u=sum(deposits),
            credit_limit_u=min(limits, default=None),
        )
        self._join_rules.append(rule)

    def _take_silence(self, block: Block) -> None:
        if "silent_s" in self._fields and self._fields["silent_s"] != block.event.slots[0]:
            # One threshold has a field; a second one is a second stage.
            return
        self._fields["silent_s"] = block.event.slots[0]
        self._take_actions(block)

    def _take_actions(self, block: Block) -> None:
        for action in block.actions:
            self._take_action(block.event, action)

    def _take_action(self, event: Statement, action: Statement) -> None:
        """Put an action at an event into its field, if it has one."""
        slots: Any = action.slots
        if action.id in _FIELDS:
            self._fields.update(zip(_FIELDS[action.id], slots, strict=True))
        elif action.id in _SWITCHES:
            field, says = _SWITCHES[action.id]
            self._fields[field] = says
        elif action.id in _LISTS:
            self._append(_LISTS[action.id], _entry(action))
        elif action.id in ORDER_MECHANISMS and event.id == s.ORDER:
            self._fields["order_mechanism"] = ORDER_MECHANISMS[action.id]
        elif action.id in SHARING_MECHANISMS:
            self._fields["sharing_mechanism"] = SHARING_MECHANISMS[action.id]
        elif action.id == s.NAMED_KEY:
            self._take_key(slots[0])
        elif action.id == s.FEE_PER_KWH and slots[1] == TRADED and event.id == s.PERIOD_CLOSES:
            self._fields["fee_u_kwh"] = slots[0]
        elif action.id == s.FEE_PER_CYCLE:
            self._fields["member_fee_u"] = slots[0]
            self._take_cycle("member_fee", slots[1])
        elif action.id == s.SPLIT and slots[0] in _SPLITS and event.id not in THING_EVENTS:
            self._fields[_SPLITS[slots[0]]] = tuple((recipient, ppm) for ppm, recipient in slots[1])
        elif action.id == s.WARN and event.id == s.METER_SILENT:
            self._append("warn_roles", slots[0])
        elif action.id == s.KEEP_OPEN:
            self._take_cycle("keep_open", slots[0])
        elif action.id == s.LET:
            self._visibility.append(Visibility(True, slots[0], slots[1]))
        elif action.id == s.HIDE:
            self._visibility.append(Visibility(False, slots[1], slots[0]))
        elif action.id in _VOTING:
            self._voting[_VOTING[action.id]] = slots[0]
        else:
            self._things.take_action(event, action)

    def _take_key(self, key: str) -> None:
        if key not in KEYS_WITH_RANKS:
            self._fields["sharing_mechanism"] = key
            return
        self._things.ranked = key

    def _append(self, field: str, entry: Any) -> None:
        self._fields[field] = (*self._fields.get(field, ()), entry)

    def _take_cycle(self, field: str, cycle: Any) -> None:
        self._fields[f"{field}_months"], self._fields[f"{field}_s"] = cycle


def _entry(action: Statement) -> Any:
    slots: Any = action.slots
    if action.id == s.LEVY:
        return facts.Levy(recipient=slots[2], energy=slots[1], u_kwh=slots[0])
    return slots if len(slots) > 1 else slots[0]


def _names(block: Block, condition: int) -> tuple[str, ...]:
    return tuple(str(part.slots[0]) for part in block.conditions if part.id == condition)


def _number(value: Any) -> int:
    number: int = value
    return number
