"""Invariants: what is true of every settlement, checked from its inputs and its result alone.

The state machine checks after every settlement, the property tests after every
example. A violation is our bug: the node stops rather than go on with wrong money.
"""

from collections import Counter

from meshnode.amounts import PPM, split, value
from meshnode.settlement.additions import charges
from meshnode.settlement.levies import CONSUMED, GRID, INJECTED, NEIGHBOURS, SOLAR, STORED, charged_wh, solar_wh
from meshnode.settlement.metered import Metered
from meshnode.settlement.period import Line, PeriodInputs, Settlement, period_facts
from meshnode.settlement.posting import (
    COMMUNITY_FUND,
    CONSUMERS,
    GRID_ACCOUNT,
    POOL_ACCOUNT,
    PRODUCERS,
    Posting,
    Reason,
    changes_by_account,
    fund_account,
)
from meshnode.settlement.sharing import Key, Weighing

_Paid = tuple[int, bytes, bytes, int, int]
"""(reason, payer, recipient, energy, price) of what is charged on energy."""


class SettlementBroken(RuntimeError):
    """A settlement that makes or loses energy or money; names the period, the member and the numbers."""


def check_settlement(inputs: PeriodInputs, settlement: Settlement) -> None:
    """Raise `SettlementBroken` unless energy and money are conserved.

    Energy, for each member i and together:

        own_i + neighbours_i + grid_i = consumption_i = own_i + import_i, each >= 0
        sold_i + fed_in_i = export_i
        sum(neighbours) = sum(sold), and neighbours_i <= sum(sold) - sold_i (nobody is his own neighbour)
        energy of the postings = energy of the lines, for each source
        delivered + claims <= traded, for each pair of orders

    Sharing, of the pot that trades left over (shared + fed in):

        nothing is shared where the tariff shares nothing
        shared_i <= ceil(pot x share_i), in one round of fixed shares, where nobody is served first
        shared_i <= most_i, where it is rationed
        grid_i = 0 or fed_in_j = 0 for i != j, where the last round goes by use or by rank and nothing is rationed
        what is paid into the pool for it = |value(price, sum(shared))|
        surplus_i passed on to i <= ceil(pot x share_i), and by j <= fed_in_j; both sums are equal and paid for once

    Money:

        the grid gives what is drawn and takes what is fed in
        debit != credit, 0 <= amount, amount = |value(price, energy)| except where a total is divided
        out_i - in_i = what the postings say; pool = 0
        sum(out) - sum(in) = funds + grid, that is: buyers' payments = sellers' receipts + fees + grid
        fees and levies of i = value(price, energy_i of the base), divided by the splitter; what is for those
            who share is divided among them by what they took, or gave
        incentive = value(incentive, sum(neighbours)), divided in the same way
        energy of the grid fees of i <= neighbours_i, each at a price of the table; equal if none of them is 0
        given by i = income_i x share, rounded down, 0 of who is helped; sum(given) = sum(received by the helped)
        packages' statements charge the same when they are asked again
    """
    by_account = {metered.account: metered for metered in inputs.metered}
    if [line.account for line in settlement.lines] != sorted(by_account):
        raise SettlementBroken(f"period {settlement.period}: the lines are not one for each member by account id")
    for line in settlement.lines:
        _check_line(settlement, line, by_account[line.account])
    _check_neighbours(settlement)
    for posting in settlement.postings:
        _check_posting(settlement, posting)
    _check_trades(inputs, settlement)
    _check_sources(settlement)
    _check_sharing(inputs, settlement)
    _check_surplus(inputs, settlement)
    _check_money(settlement)
    _check_charges(inputs, settlement)
    _check_grid_fees(inputs, settlement)
    _check_solidarity(inputs, settlement)
    _check_incentive(inputs, settlement)
    _check_additions(inputs, settlement)


_OF_NO_ENERGY = (Reason.SOLIDARITY, Reason.PACKAGE)
_DIVIDED = (Reason.SHARED, Reason.SURPLUS, Reason.FEE, Reason.LEVY, Reason.INCENTIVE)


def _taker(posting: Posting) -> bytes:
    """Who the energy goes to: who pays, unless a price below zero turned the legs around."""
    return posting.debit if posting.price_u_kwh >= 0 else posting.credit


def _giver(posting: Posting) -> bytes:
    return posting.credit if posting.price_u_kwh >= 0 else posting.debit


def _expect(settlement: Settlement, what: str, found: int, expected: int, account: bytes | None = None) -> None:
    if found != expected:
        whose = f", account {account.hex()}" if account is not None else ""
        raise SettlementBroken(f"period {settlement.period}{whose}: {what} is {found}, expected {expected}")


def _check_line(settlement: Settlement, line: Line, metered: Metered) -> None:
    account = line.account
    _expect(settlement, "consumption", line.consumption_wh, metered.own_wh + metered.import_wh, account)
    sources_wh = line.own_wh + line.neighbours_wh + line.grid_wh
    _expect(settlement, "own + neighbours + grid", sources_wh, line.consumption_wh, account)
    _expect(settlement, "sold + fed in", line.sold_wh + line.fed_in_wh, metered.export_wh, account)
    for found in (line.own_wh, line.neighbours_wh, line.grid_wh, line.sold_wh, line.fed_in_wh):
        if found < 0:
            raise SettlementBroken(f"period {settlement.period}, account {account.hex()}: {found} Wh, below zero")


def _check_neighbours(settlement: Settlement) -> None:
    sold_wh = sum(line.sold_wh for line in settlement.lines)
    _expect(settlement, "energy from neighbours", sum(line.neighbours_wh for line in settlement.lines), sold_wh)
    for line in settlement.lines:
        if line.neighbours_wh > sold_wh - line.sold_wh:
            raise SettlementBroken(
                f"period {settlement.period}, account {line.account.hex()}: {line.neighbours_wh} Wh "
                f"from neighbours, who sold {sold_wh - line.sold_wh} Wh"
            )


def _check_posting(settlement: Settlement, posting: Posting) -> None:
    if posting.debit == posting.credit:
        raise SettlementBroken(f"period {settlement.period}: account {posting.debit.hex()} pays itself")
    if posting.amount_u < 0 or posting.energy_wh < (posting.reason not in _OF_NO_ENERGY):
        raise SettlementBroken(
            f"period {settlement.period}: a posting of {posting.amount_u} u for {posting.energy_wh} Wh"
        )
    other = {Reason.GRID: _giver, Reason.FEED_IN: _taker}.get(posting.reason)
    if other is not None and other(posting) != GRID_ACCOUNT:
        raise SettlementBroken(f"period {settlement.period}: the grid's side of a posting is {other(posting).hex()}")
    if posting.reason not in (*_DIVIDED, *_OF_NO_ENERGY):
        expected_u = abs(value(posting.price_u_kwh, posting.energy_wh))
        _expect(settlement, f"amount of {posting.reason.name}", posting.amount_u, expected_u, posting.debit)


def _check_trades(inputs: PeriodInputs, settlement: Settlement) -> None:
    """No trade is delivered or claimed beyond its energy."""
    traded_wh: dict[tuple[bytes, ...], int] = {}
    for trade in (*inputs.trades, *inputs.priced):
        pair = (trade.buy_order, trade.sell_order)
        traded_wh[pair] = traded_wh.get(pair, 0) + trade.energy_wh
    for posting in settlement.postings:
        if posting.reason in (Reason.TRADE, Reason.SELLER_SHORT, Reason.BUYER_SHORT, Reason.PRICED):
            traded_wh[posting.orders] = traded_wh.get(posting.orders, 0) - posting.energy_wh
    for orders, left_wh in traded_wh.items():
        if left_wh < 0:
            raise SettlementBroken(
                f"period {settlement.period}: {-left_wh} Wh more than traded between orders "
                f"{' and '.join(order.hex() for order in orders)}"
            )


def _check_sources(settlement: Settlement) -> None:
    """The energy on the postings is the energy on the lines."""
    taken_wh: Counter[bytes] = Counter()
    given_wh: Counter[bytes] = Counter()
    drawn_wh: Counter[bytes] = Counter()
    fed_wh: Counter[bytes] = Counter()
    for posting in settlement.postings:
        takes, gives = _taker(posting), _giver(posting)
        if posting.reason in (Reason.TRADE, Reason.PRICED):
            taken_wh[takes] += posting.energy_wh
            given_wh[gives] += posting.energy_wh
        elif posting.reason is Reason.SHARED and gives == POOL_ACCOUNT:
            taken_wh[takes] += posting.energy_wh
        elif posting.reason is Reason.SHARED:
            given_wh[gives] += posting.energy_wh
        elif posting.reason is Reason.GRID:
            drawn_wh[takes] += posting.energy_wh
        elif posting.reason is Reason.FEED_IN:
            fed_wh[gives] += posting.energy_wh
    members = {line.account for line in settlement.lines}
    for account in sorted((taken_wh | given_wh | drawn_wh | fed_wh).keys() - members):
        raise SettlementBroken(f"period {settlement.period}: energy of {account.hex()}, which is no member")
    for line in settlement.lines:
        account = line.account
        _expect(settlement, "posted energy from neighbours", taken_wh[account], line.neighbours_wh, account)
        _expect(settlement, "posted energy sold", given_wh[account], line.sold_wh, account)
        _expect(settlement, "posted energy from the grid", drawn_wh[account], line.grid_wh, account)
        _expect(settlement, "posted energy fed in", fed_wh[account], line.fed_in_wh, account)


def _check_sharing(inputs: PeriodInputs, settlement: Settlement) -> None:
    """Nobody got more than the tariff's sharing gives, and what was shared is paid for once."""
    tariff, rule = inputs.tariff, inputs.tariff.rule
    shared = [posting for posting in settlement.postings if posting.reason is Reason.SHARED]
    for posting in shared:
        _expect(settlement, "price of shared energy", posting.price_u_kwh, tariff.shared_u_kwh, posting.debit)
    if rule is None:
        _expect(settlement, "number of postings for sharing, of which there is none,", len(shared), 0)
        return
    payers = [posting for posting in shared if posting.credit == POOL_ACCOUNT]
    takers = [posting for posting in shared if _giver(posting) == POOL_ACCOUNT]
    shared_wh = sum(posting.energy_wh for posting in takers)
    paid_u = sum(posting.amount_u for posting in payers)
    _expect(settlement, "paid for shared energy", paid_u, abs(value(tariff.shared_u_kwh, shared_wh)))
    if rule.rounds == (Key.STATIC,) and rule.weighing is Weighing.SHARES and not tariff.first:
        pot_wh = shared_wh + sum(line.fed_in_wh for line in settlement.lines)
        shares = dict(tariff.weights)
        for posting in takers:
            account = _taker(posting)
            if posting.energy_wh > -(-pot_wh * shares.get(account, 0) // PPM):
                raise SettlementBroken(
                    f"period {settlement.period}, account {account.hex()}: {posting.energy_wh} Wh of a pot of "
                    f"{pot_wh} Wh, beyond its share of {shares.get(account, 0)} ppm"
                )
    for posting in takers:
        most_wh = dict(tariff.most_wh).get(_taker(posting), posting.energy_wh)
        if posting.energy_wh > most_wh:
            _expect(settlement, "energy beyond the ration", posting.energy_wh, most_wh, _taker(posting))
    if rule.rounds[-1] in (Key.PRO_RATA, Key.PRIORITY) and not tariff.most_wh:
        drawing = [line.account for line in settlement.lines if line.grid_wh]
        feeding = [line.account for line in settlement.lines if line.fed_in_wh]
        # Who is on both sides may remain so alone, since nobody is his own neighbour.
        if drawing and feeding and (drawing != feeding or len(drawing) > 1):
            raise SettlementBroken(
                f"period {settlement.period}: {drawing[0].hex()} draws from the grid while {feeding[-1].hex()} feeds in"
            )


def _check_surplus(inputs: PeriodInputs, settlement: Settlement) -> None:
    """Nobody is given more surplus than its share of the pot, nor takes more than it feeds in from who feeds in."""
    tariff, rule = inputs.tariff, inputs.tariff.rule
    found = [posting for posting in settlement.postings if posting.reason is Reason.SURPLUS]
    if rule is None or not rule.own_surplus:
        _expect(settlement, "number of postings for members' own surplus, of which there is none,", len(found), 0)
        return
    fed_in_wh = {line.account: line.fed_in_wh for line in settlement.lines}
    shared_wh = sum(p.energy_wh for p in settlement.postings if p.reason is Reason.SHARED and _giver(p) == POOL_ACCOUNT)
    pot_wh, shares = sum(fed_in_wh.values()) + shared_wh, dict(tariff.weights)
    # The feed-in price goes the way of the money, whatever its sign: who feeds in pays it on.
    held_wh: Counter[bytes] = Counter()
    paid_u = 0
    for posting in found:
        _expect(settlement, "price of surplus", posting.price_u_kwh, tariff.feed_in_price_u_kwh, posting.debit)
        holder, feeder = _giver(posting), _taker(posting)
        if holder == POOL_ACCOUNT:
            held_wh[POOL_ACCOUNT] += posting.energy_wh
            if posting.energy_wh > fed_in_wh.get(feeder, 0):
                _expect(settlement, "surplus fed in", posting.energy_wh, fed_in_wh.get(feeder, 0), feeder)
        else:
            held_wh[holder] += posting.energy_wh
            paid_u += posting.amount_u
    whole_wh = held_wh.pop(POOL_ACCOUNT, 0)
    _expect(settlement, "surplus passed on", held_wh.total(), whole_wh)
    _expect(settlement, "paid for surplus", paid_u, abs(value(tariff.feed_in_price_u_kwh, whole_wh)))
    for account, energy_wh in held_wh.items():
        most_wh = -(-pot_wh * shares.get(account, 0) // PPM)
        # What nobody's share leaves over stays with those who feed in; of it somebody may hold a part too.
        most_wh += -(-pot_wh * sum(ppm for one, ppm in shares.items() if one not in fed_in_wh) // PPM)
        if energy_wh > most_wh:
            _expect(settlement, "surplus", energy_wh, most_wh, account)


def _check_money(settlement: Settlement) -> None:
    changes_u = changes_by_account(settlement.postings)
    _expect(settlement, "the pool", changes_u.get(POOL_ACCOUNT, 0), 0)
    members = {line.account for line in settlement.lines}
    outside_u = sum(change_u for account, change_u in changes_u.items() if account not in members)
    paid_u = sum(line.out_u - line.in_u for line in settlement.lines)
    _expect(settlement, "payments less receipts of all members", paid_u, outside_u)
    for line in settlement.lines:
        _expect(settlement, "in - out", line.in_u - line.out_u, changes_u.get(line.account, 0), line.account)


def _check_charges(inputs: PeriodInputs, settlement: Settlement) -> None:
    """Each member pays each recipient its part of each fee and levy on its own energy, and nothing else."""
    energies = _energies(inputs, settlement)
    paid_u: Counter[_Paid] = Counter()
    for posting in settlement.postings:
        if posting.reason in (Reason.FEE, Reason.LEVY):
            legs = (posting.debit, posting.credit)
            paid_u[posting.reason, *legs, posting.energy_wh, posting.price_u_kwh] += posting.amount_u
    expected_u: Counter[_Paid] = Counter()
    for one in (*inputs.tariff.fees, *inputs.tariff.all_levies):
        waiting_u: Counter[bytes] = Counter()
        for account, energy_wh in charged_wh(one, energies).items():
            for fund, part_u in _parts(value(one.u_kwh, energy_wh), one.shares, settlement).items():
                is_group = fund in (CONSUMERS, PRODUCERS)
                waiting_u[fund] += part_u if is_group else 0
                # Who is also a fund keeps its own part, and no posting says so.
                if fund != account:
                    to = POOL_ACCOUNT if is_group else fund
                    expected_u[one.reason, account, to, energy_wh, one.u_kwh] += part_u
        for group, whole_u in waiting_u.items():
            for account, part_u in _shared_out(group, whole_u, settlement).items():
                energy_wh = _weights(group, settlement).get(account, 0)
                expected_u[one.reason, POOL_ACCOUNT, account, energy_wh, one.u_kwh] += part_u
    for key in sorted(expected_u.keys() | paid_u.keys()):
        reason, payer, to, energy_wh, _ = key
        what = f"{Reason(reason).name} to {to.hex()} on {energy_wh} Wh"
        _expect(settlement, what, paid_u[key], expected_u[key], payer)


def _check_incentive(inputs: PeriodInputs, settlement: Settlement) -> None:
    """All that was shared is rewarded once, from outside, and each recipient gets its part."""
    shared_wh = sum(line.neighbours_wh for line in settlement.lines)
    expected_u: Counter[bytes] = Counter()
    if inputs.tariff.incentive_u_kwh:
        whole_u = value(inputs.tariff.incentive_u_kwh, shared_wh)
        for fund, part_u in _parts(whole_u, inputs.tariff.incentive_split, settlement).items():
            expected_u.update(_shared_out(fund, part_u, settlement))
    found_u: Counter[bytes] = Counter()
    for posting in settlement.postings:
        if posting.reason is Reason.INCENTIVE:
            _expect(settlement, "an incentive from elsewhere", posting.debit == GRID_ACCOUNT, True, posting.debit)
            found_u[posting.credit] += posting.amount_u
    for account in sorted(expected_u.keys() | found_u.keys()):
        _expect(settlement, "incentive", found_u[account], expected_u[account], account)


def _parts(amount_u: int, shares: tuple[tuple[bytes, int], ...], settlement: Settlement) -> dict[bytes, int]:
    """An amount by recipient; for those who share while nobody does, by what the community fund stands for."""
    if any(line.neighbours_wh for line in settlement.lines):
        return split(amount_u, shares)
    merged: Counter[bytes] = Counter()
    for recipient, ppm in shares:
        merged[fund_account(COMMUNITY_FUND) if recipient in (CONSUMERS, PRODUCERS) else recipient] += ppm
    return split(amount_u, merged.items())


def _shared_out(recipient: bytes, amount_u: int, settlement: Settlement) -> dict[bytes, int]:
    """What is for many, by account."""
    if recipient not in (CONSUMERS, PRODUCERS) or not amount_u:
        return {recipient: amount_u}
    return split(amount_u, _weights(recipient, settlement).items())


def _weights(group: bytes, settlement: Settlement) -> dict[bytes, int]:
    """By what those who share divide what is for them."""
    return {line.account: line.neighbours_wh if group == CONSUMERS else line.sold_wh for line in settlement.lines}


def _energies(inputs: PeriodInputs, settlement: Settlement) -> dict[int, dict[bytes, int]]:
    lines = settlement.lines
    neighbours_wh = {line.account: line.neighbours_wh for line in lines}
    produced_wh = {metered.account: metered.produced_wh or 0 for metered in inputs.metered}
    return {
        CONSUMED: {line.account: line.consumption_wh for line in lines},
        NEIGHBOURS: neighbours_wh,
        GRID: {line.account: line.grid_wh for line in lines},
        INJECTED: {line.account: line.sold_wh + line.fed_in_wh for line in lines},
        SOLAR: solar_wh(produced_wh, {line.account: line.sold_wh for line in lines}, neighbours_wh),
        STORED: dict(inputs.stored_wh),
    }


def _check_grid_fees(inputs: PeriodInputs, settlement: Settlement) -> None:
    """Nobody pays the grid for more than it took from neighbours, and every Wh at a fee that there is."""
    table = () if inputs.tariff.grid_fees is None else inputs.tariff.grid_fees.fees_u_kwh
    charged_wh: Counter[bytes] = Counter()
    for posting in settlement.postings:
        if posting.reason is Reason.GRID_FEE:
            if posting.price_u_kwh not in table or posting.credit != GRID_ACCOUNT:
                raise SettlementBroken(f"period {settlement.period}: a grid fee of {posting.price_u_kwh} u/kWh")
            charged_wh[posting.debit] += posting.energy_wh
    for line in settlement.lines:
        found_wh = charged_wh.pop(line.account, 0)
        if found_wh > line.neighbours_wh or (table and table[-1] and found_wh != line.neighbours_wh):
            _expect(settlement, "energy of the grid fees", found_wh, line.neighbours_wh, line.account)
    for account in charged_wh:
        raise SettlementBroken(f"period {settlement.period}: a grid fee of {account.hex()}, which is no member")


def _check_solidarity(inputs: PeriodInputs, settlement: Settlement) -> None:
    """Everybody gives its part of what it earned, and what was given is what the helped receive."""
    rule = inputs.tariff.solidarity
    helped = {} if rule is None else dict(rule.helped)
    share_ppm = rule.share_ppm if rule is not None and any(helped.values()) else 0
    income_u: Counter[bytes] = Counter()
    given_u: Counter[bytes] = Counter()
    received_u = 0
    for posting in settlement.postings:
        if posting.reason in (Reason.TRADE, Reason.PRICED, Reason.SHARED, Reason.FEED_IN) and posting.price_u_kwh > 0:
            income_u[posting.credit] += posting.amount_u
        elif posting.reason is Reason.SURPLUS and posting.price_u_kwh > 0:
            income_u[posting.credit] += posting.amount_u
            income_u[posting.debit] -= posting.amount_u
        elif posting.reason is Reason.SOLIDARITY and posting.credit == POOL_ACCOUNT:
            given_u[posting.debit] += posting.amount_u
        elif posting.reason is Reason.SOLIDARITY:
            if not helped.get(posting.credit, 0):
                raise SettlementBroken(f"period {settlement.period}: {posting.credit.hex()} is helped by nobody's rule")
            received_u += posting.amount_u
    del income_u[POOL_ACCOUNT]
    for account in sorted(income_u.keys() | given_u.keys()):
        expected_u = 0 if helped.get(account, 0) else max(0, income_u[account]) * share_ppm // PPM
        _expect(settlement, "solidarity share", given_u[account], expected_u, account)
    _expect(settlement, "solidarity received", received_u, given_u.total())


def _check_additions(inputs: PeriodInputs, settlement: Settlement) -> None:
    """What packages charge is what they say, and they say it twice."""
    expected_u: Counter[tuple[bytes, bytes]] = Counter()
    for chosen in inputs.tariff.additions:
        for charge in charges(chosen, period_facts(inputs, chosen, settlement.lines)):
            expected_u[charge.payer, charge.payee] += charge.amount_u
    for posting in settlement.postings:
        if posting.reason is Reason.PACKAGE:
            expected_u[posting.debit, posting.credit] -= posting.amount_u
    for payer, payee in sorted(expected_u):
        _expect(settlement, f"left of a package's charge for {payee.hex()}", expected_u[payer, payee], 0, payer)
