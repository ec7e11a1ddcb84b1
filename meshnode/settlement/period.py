"""Period: the settlement of one period, from meters, trades and a tariff to lines and postings.

Every Wh that crossed a meter gets a source and a price exactly once. Nothing is
remembered from one period to the next; balances belong to the ledger.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from meshnode.amounts import PPM, PRICE_MAX_U_KWH, int64, split, value
from meshnode.market.clearing import Trade
from meshnode.market.grid_fees import GridFees, Location
from meshnode.market.mid_market import NAME as MID_MARKET_RATE
from meshnode.market.mid_market import mid_market_rate
from meshnode.settlement import fees
from meshnode.settlement.additions import Chosen, Home, PeriodFacts, charges
from meshnode.settlement.books import Books
from meshnode.settlement.compensation import Incentive, passed_on
from meshnode.settlement.levies import CONSUMED, GRID, NEIGHBOURS, Charge, Levy, Solidarity
from meshnode.settlement.metered import Metered, Quality, completeness_ppm
from meshnode.settlement.posting import GRID_ACCOUNT, POOL_ACCOUNT, Posting, Reason
from meshnode.settlement.sharing import Allocation, Key, Rule, SharingError, allocate, faults_of_weights
from meshnode.settlement.sharing_modes import MODES

MEMBERS_MAX: Final = 4_096
"""Members in one settlement. One low-voltage community has tens to hundreds; a value is at most 10**15 u,
so the sums of all members still fit into 64 bits."""


class SettlementError(ValueError):
    """Inputs that cannot be settled: a bug of the caller, who completes and checks them before."""


class Tariff(msgspec.Struct, frozen=True):
    """What the binding in force says about prices in one period.

    Fields:
        grid_price_u_kwh: price of energy from the grid.
        feed_in_price_u_kwh: what the grid pays; may be below zero.
        sharing: a name of `meshnode.settlement.sharing_modes.MODES`, but none with shares for each
            source; None: what was not traded goes to the grid.
        fee_u_kwh: paid by whoever takes energy from neighbours, 0 or more.
        fee_split: (fund or member account, ppm), together 1,000,000; empty only without a fee.
        weights: (account, share in ppm or rank), as the sharing weighs. A share of the grid's account is
            of those who do not take part in the period: it stays with the generators. Empty where
            the sharing takes none, or until the members of a period are known.
        shared_price_u_kwh: price of shared energy under every sharing but the mid-market rate, which
            makes its own; 0: the community owns what generates and nothing is paid for it.
        levies: on energy, each for its fund.
        solidarity: of what members earn; None: nothing.
        grid_fees: what the grid takes for energy from neighbours; None: nothing.
        locations: where members are connected, by account; who is not named shares nothing with anybody.
        charges: further fees and levies, on other energy or for some members.
        incentive_u_kwh, incentive_split: what is paid from outside for a shared kWh, and to whom, as the fee's.
        first: accounts that are served before the others, one group after the other, each by its need.
        most_wh: (account, Wh) that it gets from neighbours at most, without a trade.
        moves: whether anybody is owed what is posted; else it is only shown.
        additions: statements of packages, in the order of the binding.
        compensation: surplus takes off at most what a member's bought energy costs in its billing period
            (Spain, simplified compensation). Energy that is shared by fixed shares is then es-static.
        hourly_incentive: paid from outside for energy shared within an hour behind one substation, which is the
            first level of a location (Italy); None: nothing.
    """

    grid_price_u_kwh: int
    feed_in_price_u_kwh: int
    sharing: str | None = None
    fee_u_kwh: int = 0
    fee_split: tuple[tuple[bytes, int], ...] = ()
    weights: tuple[tuple[bytes, int], ...] = ()
    shared_price_u_kwh: int = 0
    levies: tuple[Levy, ...] = ()
    solidarity: Solidarity | None = None
    grid_fees: GridFees | None = None
    locations: tuple[tuple[bytes, Location], ...] = ()
    charges: tuple[Charge, ...] = ()
    incentive_u_kwh: int = 0
    incentive_split: tuple[tuple[bytes, int], ...] = ()
    first: tuple[frozenset[bytes], ...] = ()
    most_wh: tuple[tuple[bytes, int], ...] = ()
    moves: bool = True
    additions: tuple[Chosen, ...] = ()
    compensation: bool = False
    hourly_incentive: Incentive | None = None

    def __post_init__(self) -> None:
        for name in ("grid_price_u_kwh", "feed_in_price_u_kwh", "shared_price_u_kwh"):
            if abs(getattr(self, name)) > PRICE_MAX_U_KWH:
                raise SettlementError(
                    f"tariff: {name} is {getattr(self, name)}, expected {-PRICE_MAX_U_KWH} to {PRICE_MAX_U_KWH}"
                )
        if not 0 <= self.fee_u_kwh <= PRICE_MAX_U_KWH:
            raise SettlementError(f"tariff: fee_u_kwh is {self.fee_u_kwh}, expected 0 to {PRICE_MAX_U_KWH}")
        mode = MODES.get(self.sharing or MID_MARKET_RATE)
        if mode is None or mode.rule.by_source:
            known = ", ".join(name for name, one in MODES.items() if not one.rule.by_source)
            raise SettlementError(f"tariff: sharing is {self.sharing!r}, expected None or one of {known}")
        split(0, self.weights)  # refuses an account that is named twice
        if self.weights:
            found = faults_of_weights(mode.rule, {}, dict(self.weights))
            if found:
                raise SettlementError(f"tariff: {'; '.join(found)}")
        for what, charged, shares in (
            ("fee", self.fee_u_kwh, self.fee_split),
            ("incentive", self.incentive_u_kwh, self.incentive_split),
        ):
            split(0, shares)  # refuses an account that is named twice and a share below zero
            whole = sum(ppm for _, ppm in shares)
            if whole != PPM and (shares or charged):
                raise SettlementError(f"tariff: the shares of the {what} add up to {whole} ppm, expected {PPM}")

    @property
    def on_top_u_kwh(self) -> int:
        """The most that a kWh bought in a trade costs beyond the trade's price, whatever becomes of it.

        Delivered, it costs fee, grid fee - from as far away as can be - and levies. If the seller is short, it
        makes up for the grid's price, not for the levies on what comes from there, nor for what others share
        at a price above the grid's. If the buyer does not use it, it pays what the trade's price is
        above the feed-in price, which may be below zero.
        """
        fees = 0 if self.grid_fees is None else self.grid_fees.fees_u_kwh[0]
        shared = 0 if self.rule is None else max(0, self.shared_u_kwh - self.grid_price_u_kwh)
        from_neighbours = shared + self.fee_u_kwh + fees + self._levies(CONSUMED, NEIGHBOURS)
        return max(from_neighbours, self._levies(CONSUMED, GRID), -self.feed_in_price_u_kwh)

    def _levies(self, *bases: int) -> int:
        return sum(one.u_kwh for one in self.levies if one.base in bases)

    @property
    def rule(self) -> Rule | None:
        """How what no trade covered is shared."""
        return None if self.sharing is None else MODES[self.sharing].rule

    @property
    def fees(self) -> tuple[Charge, ...]:
        """Every fee on energy."""
        network = (Charge(NEIGHBOURS, self.fee_u_kwh, self.fee_split),) if self.fee_u_kwh else ()
        return (*network, *(one for one in self.charges if one.reason is Reason.FEE))

    @property
    def all_levies(self) -> tuple[Charge, ...]:
        """Every levy on energy."""
        named = (Charge(one.base, one.u_kwh, ((one.fund, PPM),), Reason.LEVY) for one in self.levies)
        return (*named, *(one for one in self.charges if one.reason is Reason.LEVY))

    @property
    def shared_u_kwh(self) -> int:
        """What a kWh costs that is shared without a trade."""
        if self.sharing == MID_MARKET_RATE:
            return mid_market_rate(self.grid_price_u_kwh, self.feed_in_price_u_kwh)
        return self.shared_price_u_kwh


class PeriodInputs(msgspec.Struct, frozen=True):
    """All that one period's settlement depends on.

    Fields:
        period: its number.
        asset: the asset that is paid in.
        metered: one entry for each member, in any order; a missing reading is estimated before.
        trades: in the order in which they are delivered: fill order, but for those whom a seller that is short
            has agreed to serve first; both partners are in `metered`.
        tariff: prices of this period.
        priced: trades at prices that both partners have set, of energy that their meters show beyond
            `trades`, so that all of it is delivered.
        stored_wh: (account, Wh) that it took out of its storages.
    """

    period: int
    asset: bytes
    metered: tuple[Metered, ...]
    trades: tuple[Trade, ...]
    tariff: Tariff
    priced: tuple[Trade, ...] = ()
    stored_wh: tuple[tuple[bytes, int], ...] = ()


class Sources(msgspec.Struct, frozen=True):
    """Where energy came from and where it went.

    own_wh + neighbours_wh + grid_wh = consumption_wh, sold_wh + fed_in_wh = export.

    Fields:
        own_wh: produced and used behind the own meter.
        neighbours_wh: taken from other members, traded or shared.
        grid_wh: taken from the grid.
        consumption_wh: used in the home.
        sold_wh: given to other members, traded or shared.
        fed_in_wh: given to the grid.
    """

    own_wh: int
    neighbours_wh: int
    grid_wh: int
    consumption_wh: int
    sold_wh: int
    fed_in_wh: int


class Line(Sources, frozen=True):
    """One member's period.

    Fields:
        account: the member.
        in_u, out_u: money received and paid, fees and imbalance included.
        quality: of the reading behind the line.
    """

    account: bytes
    in_u: int
    out_u: int
    quality: Quality


class Settlement(msgspec.Struct, frozen=True):
    """The result of one period.

    Fields:
        period, asset: as given.
        lines: one for each member, by account id.
        postings: trades as they were given, then sharing, grid and fees, each by account id.
        completeness_ppm: share of members with a real reading.
        provisional: some reading is estimated, so a correction may follow.
        moves: whether anybody owes what is posted; else it is only shown.
    """

    period: int
    asset: bytes
    lines: tuple[Line, ...]
    postings: tuple[Posting, ...]
    completeness_ppm: int
    provisional: bool
    moves: bool = True


def settle(inputs: PeriodInputs) -> Settlement:
    """Settle one period.

    1. **Trades** are delivered in the order in which they are given, each up to what the seller still exports and
       the buyer still imports; the buyer pays the trade's price.
    2. **Imbalance**, the undelivered rest of a trade. Where both sides are short they
       wanted the same: that part is cancelled. Where only the seller is short, the
       buyer must get the energy elsewhere, at worst from the grid, so the seller pays
       max(0, grid price - trade price) per kWh. Where only the buyer is short,
       the seller is left with energy, at worst for the grid, so the buyer pays
       max(0, trade price - feed-in price). So, fees aside, nobody is worse
       off because a partner did not keep a trade.
    3. **Set prices**: what both partners' meters show beyond their trades, as `priced` says.
    4. **Sharing**: imports and exports that no trade covered meet inside the community
       first, by the tariff's mode and at its price (`meshnode.settlement.sharing.allocate`). The
       value is computed once for all that is shared and divided by the splitter on both sides of
       the pool. Without sharing this is skipped.
    5. **Grid**: the rest, at grid price and feed-in price. Where a member's unused share is its own
       surplus, who feeds it in passes its feed-in price on, through the pool.
    6. **Fees** on energy, paid by who took it, divided among funds, members, and those who share.
    7. **Grid fees** on the same energy, by who gave it to whom.
    8. **Levies** on energy, for their funds; then the **solidarity** share of what was earned.
    9. **Incentive**: what is paid from outside for all that came from neighbours.
    10. **Packages**: what their statements charge, each shown the same period.

    A price below zero turns the payment around. Where a member is a fund too, its part of its
    own fee is not posted, since nothing moves.

    Args:
        inputs: the period; the order of `metered` does not matter, that of `trades` does.
    Raises:
        SettlementError: too many members, a member twice, a reserved account as member, a trade
            without a meter on both ends, with itself or without energy, weights that do not fit the sharing.
        Overflow: a sum needs more than 64 bits.
    """
    members = _members(inputs)
    tariff = inputs.tariff
    books = Books(inputs.asset, members)
    for trade in inputs.trades:
        _settle_trade(books, trade, tariff)
    for trade in inputs.priced:
        _settle_priced(books, trade)
    surplus_wh = {} if tariff.rule is None else _settle_sharing(books, inputs.period, tariff.rule, tariff)
    _settle_grid(books, tariff)
    _settle_surplus(books, surplus_wh, tariff.feed_in_price_u_kwh)
    found = fees.energies(members, books.neighbours_wh, books.import_wh, books.sold_wh, dict(inputs.stored_wh))
    fees.charge(books, found, tariff.fees)
    if tariff.grid_fees is not None:
        fees.charge_grid(books, tariff.grid_fees, dict(tariff.locations))
    fees.charge(books, found, tariff.all_levies)
    if tariff.solidarity is not None:
        fees.solidarity(books, tariff.solidarity)
    if tariff.incentive_u_kwh:
        fees.incentive(books, tariff.incentive_u_kwh, tariff.incentive_split)
    if tariff.additions:
        _settle_additions(books, members, inputs)
    received_u, paid_u = _flows(books.postings)
    return Settlement(
        period=inputs.period,
        asset=inputs.asset,
        lines=tuple(
            _line(books, metered, received_u.get(account, 0), paid_u.get(account, 0))
            for account, metered in members.items()
        ),
        postings=tuple(books.postings),
        completeness_ppm=completeness_ppm(members.values()),
        provisional=any(metered.quality is Quality.ESTIMATED for metered in members.values()),
        moves=tariff.moves,
    )


def _members(inputs: PeriodInputs) -> dict[bytes, Metered]:
    """Check the inputs; return the meters by account, in account id order."""
    if len(inputs.metered) > MEMBERS_MAX:
        raise SettlementError(f"period {inputs.period}: {len(inputs.metered)} members, the limit is {MEMBERS_MAX}")
    members: dict[bytes, Metered] = {}
    for metered in sorted(inputs.metered, key=lambda entry: entry.account):
        if metered.account in members:
            raise SettlementError(
                f"period {inputs.period}: account {metered.account.hex()} is metered twice; add up its meters first"
            )
        if metered.account in (GRID_ACCOUNT, POOL_ACCOUNT):
            raise SettlementError(f"period {inputs.period}: account {metered.account!r} is reserved, not a member")
        members[metered.account] = metered
    for trade in (*inputs.trades, *inputs.priced):
        for account in (trade.buyer, trade.seller):
            if account not in members:
                raise SettlementError(
                    f"period {inputs.period}: account {account.hex()} traded but is not metered; estimate it first"
                )
        if trade.buyer == trade.seller:
            raise SettlementError(f"period {inputs.period}: account {trade.buyer.hex()} trades with itself")
        if trade.energy_wh < 1:
            raise SettlementError(f"period {inputs.period}: a trade of {trade.energy_wh} Wh, expected 1 or more")
    return members


def _settle_trade(books: Books, trade: Trade, tariff: Tariff) -> None:
    """Deliver one trade as far as the meters allow; settle the imbalance of the rest."""
    seller_has_wh = books.export_wh[trade.seller]
    buyer_needs_wh = books.import_wh[trade.buyer]
    orders = (trade.buy_order, trade.sell_order)
    delivered_wh = min(trade.energy_wh, seller_has_wh, buyer_needs_wh)
    if delivered_wh:
        books.move(trade.buyer, trade.seller, delivered_wh)
        books.post(trade.buyer, trade.seller, delivered_wh, trade.price_u_kwh, Reason.TRADE, orders=orders)
    # Delivered is the smaller of the two, so what one side lacks beyond the other is the other's claim;
    # what both lack is the smaller lack, and it cancels.
    claim_on_seller_wh = min(trade.energy_wh, buyer_needs_wh) - delivered_wh
    claim_on_buyer_wh = min(trade.energy_wh, seller_has_wh) - delivered_wh
    dearer_u_kwh = tariff.grid_price_u_kwh - trade.price_u_kwh
    cheaper_u_kwh = trade.price_u_kwh - tariff.feed_in_price_u_kwh
    if claim_on_seller_wh and dearer_u_kwh > 0:
        books.post(trade.seller, trade.buyer, claim_on_seller_wh, dearer_u_kwh, Reason.SELLER_SHORT, orders=orders)
    if claim_on_buyer_wh and cheaper_u_kwh > 0:
        books.post(trade.buyer, trade.seller, claim_on_buyer_wh, cheaper_u_kwh, Reason.BUYER_SHORT, orders=orders)


def _settle_priced(books: Books, trade: Trade) -> None:
    """Deliver what both have, at the price that they have set."""
    books.move(trade.buyer, trade.seller, trade.energy_wh)
    orders = (trade.buy_order, trade.sell_order)
    books.post(trade.buyer, trade.seller, trade.energy_wh, trade.price_u_kwh, Reason.PRICED, orders=orders)


def _settle_sharing(books: Books, period: int, rule: Rule, tariff: Tariff) -> dict[bytes, int]:
    """Share what no trade covered, at one rate, through the pool; gives what is left where it is a member's own."""
    try:
        allocation = serve(rule, books.import_wh, books.export_wh, tariff)
    except SharingError as error:
        raise SettlementError(f"period {period}, sharing {tariff.sharing}: {error}") from error
    taken, given = _open(allocation.taken_wh), _open(allocation.given_wh)
    rate_u_kwh = tariff.shared_u_kwh
    total_u = value(rate_u_kwh, sum(taken.values()))
    for account, amount_u in split(total_u, taken.items()).items():
        books.take(account, taken[account])
        books.post(account, POOL_ACCOUNT, taken[account], rate_u_kwh, Reason.SHARED, amount_u=amount_u)
    for account, amount_u in split(total_u, given.items()).items():
        books.give(account, given[account])
        books.post(POOL_ACCOUNT, account, given[account], rate_u_kwh, Reason.SHARED, amount_u=amount_u)
    # Who is served first leaves no part by shares.
    return allocation.surplus_wh if rule.own_surplus and not tariff.first else {}


def serve(rule: Rule, import_wh: dict[bytes, int], export_wh: dict[bytes, int], tariff: Tariff) -> Allocation:
    """Share out: who is first by its need, then the rest by the rule, each at most what the tariff allows it."""
    most_wh = dict(tariff.most_wh)
    needs_wh = {account: min(wh, most_wh.get(account, wh)) for account, wh in import_wh.items()}
    if not tariff.first:
        return allocate(rule, needs_wh, export_wh, dict(tariff.weights))
    left_wh, taken_wh, given_wh = dict(export_wh), dict.fromkeys(needs_wh, 0), dict.fromkeys(export_wh, 0)
    everybody = frozenset(needs_wh)
    by_need = Rule((Key.PRO_RATA,))
    groups: list[tuple[Rule, frozenset[bytes], dict[bytes, int]]] = [(by_need, group, {}) for group in tariff.first]
    for key, group, weights in (*groups, (rule, everybody, dict(tariff.weights))):
        wants_wh = {one: wh - taken_wh[one] if one in group else 0 for one, wh in needs_wh.items()}
        part = allocate(key, wants_wh, left_wh, weights)
        for one, wh in part.taken_wh.items():
            taken_wh[one] += wh
        for one, wh in part.given_wh.items():
            given_wh[one] += wh
            left_wh[one] -= wh
    return Allocation(taken_wh, given_wh, left_wh)


def _open(energy_wh: dict[bytes, int]) -> dict[bytes, int]:
    return {account: energy for account, energy in energy_wh.items() if energy}


def _settle_grid(books: Books, tariff: Tariff) -> None:
    """Everything still open is the grid's."""
    for account, energy_wh in books.import_wh.items():
        if energy_wh:
            books.post(account, GRID_ACCOUNT, energy_wh, tariff.grid_price_u_kwh, Reason.GRID)
    for account, energy_wh in books.export_wh.items():
        if energy_wh:
            books.post(GRID_ACCOUNT, account, energy_wh, tariff.feed_in_price_u_kwh, Reason.FEED_IN)


def _settle_surplus(books: Books, surplus_wh: dict[bytes, int], feed_in_u_kwh: int) -> None:
    """Who feeds in another one's surplus passes on what it is worth."""
    beyond_wh = passed_on(books.export_wh, surplus_wh) if surplus_wh else {}
    holders = {account: wh for account, wh in beyond_wh.items() if wh > 0}
    feeding = {account: -wh for account, wh in beyond_wh.items() if wh < 0}
    total_u = value(feed_in_u_kwh, sum(holders.values()))
    for account, amount_u in split(total_u, feeding.items()).items():
        books.post(account, POOL_ACCOUNT, feeding[account], feed_in_u_kwh, Reason.SURPLUS, amount_u=amount_u)
    for account, amount_u in split(total_u, holders.items()).items():
        books.post(POOL_ACCOUNT, account, holders[account], feed_in_u_kwh, Reason.SURPLUS, amount_u=amount_u)


def _settle_additions(books: Books, members: dict[bytes, Metered], inputs: PeriodInputs) -> None:
    """What statements of packages charge; they see the energy, and not what one another charge."""
    lines = [_line(books, metered, 0, 0) for metered in members.values()]
    for chosen in inputs.tariff.additions:
        for charge in charges(chosen, period_facts(inputs, chosen, lines)):
            books.post(charge.payer, charge.payee, 0, 0, Reason.PACKAGE, amount_u=charge.amount_u)


def period_facts(inputs: PeriodInputs, chosen: Chosen, lines: Iterable[Line]) -> PeriodFacts:
    """What a statement of a package is shown of a period."""
    return PeriodFacts(
        start_s=inputs.period * chosen.length_s,
        length_s=chosen.length_s,
        homes=tuple(
            [
                Home(
                    account=line.account,
                    own_wh=line.own_wh,
                    neighbours_wh=line.neighbours_wh,
                    grid_wh=line.grid_wh,
                    consumption_wh=line.consumption_wh,
                    sold_wh=line.sold_wh,
                    fed_in_wh=line.fed_in_wh,
                )
                for line in lines
            ]
        ),
        grid_price_u_kwh=inputs.tariff.grid_price_u_kwh,
        feed_in_price_u_kwh=inputs.tariff.feed_in_price_u_kwh,
    )


def _flows(postings: Iterable[Posting]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Money received and paid by account."""
    received_u: dict[bytes, int] = {}
    paid_u: dict[bytes, int] = {}
    for posting in postings:
        received_u[posting.credit] = received_u.get(posting.credit, 0) + posting.amount_u
        paid_u[posting.debit] = paid_u.get(posting.debit, 0) + posting.amount_u
    return received_u, paid_u


def _line(books: Books, metered: Metered, in_u: int, out_u: int) -> Line:
    account = metered.account
    return Line(
        account=account,
        own_wh=metered.own_wh,
        neighbours_wh=books.neighbours_wh[account],
        grid_wh=books.import_wh[account],
        consumption_wh=metered.consumption_wh,
        sold_wh=books.sold_wh[account],
        fed_in_wh=books.export_wh[account],
        in_u=int64("money received", in_u),
        out_u=int64("money paid", out_u),
        quality=metered.quality,
    )
