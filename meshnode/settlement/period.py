"""Period: the settlement of one period, from meters, trades and a tariff to lines and postings.

Every Wh that crossed a meter gets a source and a price exactly once. Nothing is
remembered from one period to the next; balances belong to the ledger.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from meshnode.amounts import PPM, PRICE_MAX_U_KWH, int64, split, value
from meshnode.market.clearing import Trade
from meshnode.market.mid_market import NAME as MID_MARKET_RATE
from meshnode.market.mid_market import mid_market_rate
from meshnode.settlement.metered import Metered, Quality, completeness_ppm
from meshnode.settlement.posting import GRID_ACCOUNT, POOL_ACCOUNT, Posting, Reason
from meshnode.settlement.sharing import Rule, SharingError, allocate, faults_of_weights
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
    """

    grid_price_u_kwh: int
    feed_in_price_u_kwh: int
    sharing: str | None = None
    fee_u_kwh: int = 0
    fee_split: tuple[tuple[bytes, int], ...] = ()
    weights: tuple[tuple[bytes, int], ...] = ()
    shared_price_u_kwh: int = 0

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
        split(0, self.fee_split)  # refuses an account that is named twice and a share below zero
        whole = sum(ppm for _, ppm in self.fee_split)
        if whole != PPM and (self.fee_split or self.fee_u_kwh):
            raise SettlementError(f"tariff: the shares of the fee add up to {whole} ppm, expected {PPM}")

    @property
    def rule(self) -> Rule | None:
        """How what no trade covered is shared."""
        return None if self.sharing is None else MODES[self.sharing].rule

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
        trades: in fill order; both partners are in `metered`.
        tariff: prices of this period.
    """

    period: int
    asset: bytes
    metered: tuple[Metered, ...]
    trades: tuple[Trade, ...]
    tariff: Tariff


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
        postings: trades in fill order, then sharing, grid and fees, each by account id.
        completeness_ppm: share of members with a real reading.
        provisional: some reading is estimated, so a correction may follow.
    """

    period: int
    asset: bytes
    lines: tuple[Line, ...]
    postings: tuple[Posting, ...]
    completeness_ppm: int
    provisional: bool


def settle(inputs: PeriodInputs) -> Settlement:
    """Settle one period.

    1. **Trades** are delivered in fill order, each up to what the seller still exports and
       the buyer still imports; the buyer pays the trade's price.
    2. **Imbalance**, the undelivered rest of a trade. Where both sides are short they
       wanted the same: that part is cancelled. Where only the seller is short, the
       buyer must get the energy elsewhere, at worst from the grid, so the seller pays
       max(0, grid price - trade price) per kWh. Where only the buyer is short,
       the seller is left with energy, at worst for the grid, so the buyer pays
       max(0, trade price - feed-in price). So, fees aside, nobody is worse
       off because a partner did not keep a trade.
    3. **Sharing**: imports and exports that no trade covered meet inside the community
       first, by the tariff's mode and at its price (`meshnode.settlement.sharing.allocate`). The
       value is computed once for all that is shared and divided by the splitter on both sides of
       the pool. Without sharing this is skipped.
    4. **Grid**: the rest, at grid price and feed-in price.
    5. **Fee** on energy from neighbours, paid by who took it, divided among the funds.

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
    books = _Books(inputs.asset, members)
    for trade in inputs.trades:
        _settle_trade(books, trade, tariff)
    if tariff.rule is not None:
        _settle_sharing(books, inputs.period, tariff.rule, tariff)
    _settle_grid(books, tariff)
    if tariff.fee_u_kwh:
        _settle_fees(books, tariff)
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
    )


class _Books:
    """What is still open while a period is settled: Wh by account, and the postings so far."""

    def __init__(self, asset: bytes, members: dict[bytes, Metered]) -> None:
        self.asset = asset
        self.import_wh = {account: metered.import_wh for account, metered in members.items()}
        self.export_wh = {account: metered.export_wh for account, metered in members.items()}
        self.neighbours_wh = dict.fromkeys(members, 0)
        self.sold_wh = dict.fromkeys(members, 0)
        self.postings: list[Posting] = []

    def move(self, buyer: bytes, seller: bytes, energy_wh: int) -> None:
        """Energy goes from a seller's export to a buyer's import."""
        self.take(buyer, energy_wh)
        self.give(seller, energy_wh)

    def take(self, buyer: bytes, energy_wh: int) -> None:
        self.import_wh[buyer] -= energy_wh
        self.neighbours_wh[buyer] += energy_wh

    def give(self, seller: bytes, energy_wh: int) -> None:
        self.export_wh[seller] -= energy_wh
        self.sold_wh[seller] += energy_wh

    def post(
        self,
        payer: bytes,
        receiver: bytes,
        energy_wh: int,
        price_u_kwh: int,
        reason: Reason,
        *,
        amount_u: int | None = None,
        orders: tuple[bytes, ...] = (),
    ) -> None:
        """Write one posting; the amount is the energy's value unless it is given."""
        if amount_u is None:
            amount_u = value(price_u_kwh, energy_wh)
        if price_u_kwh < 0:
            payer, receiver = receiver, payer
        self.postings.append(
            Posting(
                debit=payer,
                credit=receiver,
                asset=self.asset,
                amount_u=abs(amount_u),
                energy_wh=energy_wh,
                price_u_kwh=price_u_kwh,
                reason=reason,
                orders=orders,
            )
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
    for trade in inputs.trades:
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


def _settle_trade(books: _Books, trade: Trade, tariff: Tariff) -> None:
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


def _settle_sharing(books: _Books, period: int, rule: Rule, tariff: Tariff) -> None:
    """Share what no trade covered, at one rate, through the pool."""
    try:
        allocation = allocate(rule, books.import_wh, books.export_wh, dict(tariff.weights))
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


def _open(energy_wh: dict[bytes, int]) -> dict[bytes, int]:
    return {account: energy for account, energy in energy_wh.items() if energy}


def _settle_grid(books: _Books, tariff: Tariff) -> None:
    """Everything still open is the grid's."""
    for account, energy_wh in books.import_wh.items():
        if energy_wh:
            books.post(account, GRID_ACCOUNT, energy_wh, tariff.grid_price_u_kwh, Reason.GRID)
    for account, energy_wh in books.export_wh.items():
        if energy_wh:
            books.post(GRID_ACCOUNT, account, energy_wh, tariff.feed_in_price_u_kwh, Reason.FEED_IN)


def _settle_fees(books: _Books, tariff: Tariff) -> None:
    """The fee on energy from neighbours, divided among the funds."""
    for account, energy_wh in books.neighbours_wh.items():
        fee_u = value(tariff.fee_u_kwh, energy_wh)
        for fund, amount_u in split(fee_u, tariff.fee_split).items():
            if amount_u and fund != account:
                books.post(account, fund, energy_wh, tariff.fee_u_kwh, Reason.FEE, amount_u=amount_u)


def _flows(postings: Iterable[Posting]) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Money received and paid by account."""
    received_u: dict[bytes, int] = {}
    paid_u: dict[bytes, int] = {}
    for posting in postings:
        received_u[posting.credit] = received_u.get(posting.credit, 0) + posting.amount_u
        paid_u[posting.debit] = paid_u.get(posting.debit, 0) + posting.amount_u
    return received_u, paid_u


def _line(books: _Books, metered: Metered, in_u: int, out_u: int) -> Line:
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
