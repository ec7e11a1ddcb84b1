"""Parts: the pieces of the page that change, each made from the figures of one moment.

The whole page is made of them, and the script exchanges single ones as news comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from meshnode.amounts import MICRO, PPM, split
from meshnode.roster import Roster
from meshnode.views import BlockRow, OrderRow, TradeRow
from meshnode.web import charts
from meshnode.web.backend import FoundOut, MeterHealth, Status
from meshnode.web.figures import Figures
from meshnode.web.history import Point
from meshnode.web.html import Html, fill, join
from meshnode.web.texts import Words, shares
from meshnode.web.zone import Zone

# Rows of the table beside the chart: the newest two hours.
TABLE_ROWS = 8
NONE: Final = Html("")
# The role of a node without a vote, as its status says it.
LEARNER: Final = "learner"


class Moment(msgspec.Struct, frozen=True):
    """All that parts are made from."""

    figures: Figures
    status: Status
    roster: Roster
    points: tuple[Point, ...]
    window_s: int
    words: Words
    zone: Zone

    @property
    def now_s(self) -> int:
        """The microgrid's clock, UTC seconds."""
        return self.figures.now_ms // 1000

    def span(self, start_s: int) -> str:
        """A settlement period as `10:15-10:30`."""
        end_s = start_s + self.figures.period_length_s
        return f"{self.zone.clock(start_s)}\u2013{self.zone.clock(end_s)}"

    def short_span(self, start_s: int) -> Html:
        """The same for tables, whose style may leave out the end on a narrow screen."""
        begin, _, end = self.span(start_s).partition("\u2013")
        return fill('{begin}<span class="till">\u2013{end}</span>', begin=begin, end=end)

    def money(self, amount_u: int) -> str:
        """An amount in the binding's currency."""
        return self.words.money(amount_u, self.figures.currency)

    def price(self, price_u_kwh: int) -> str:
        """The price of a kWh in the binding's currency."""
        return self.words.money(price_u_kwh, self.figures.currency)

    def bare_price(self, price_u_kwh: int) -> str:
        """A price without its unit, which stands over the column."""
        return self.price(price_u_kwh).partition(" ")[0]


def now(moment: Moment) -> Html:
    """Power of this home and of the community; the script keeps the marked places current."""
    words, power = moment.words, moment.figures.power
    return fill(
        """<div class="pair">
<div class="reading home"><h3>{this_home}</h3>{own}<p class="quiet" id="roof">{roof}</p></div>
<div class="reading all"><h3>{community}</h3>{net}<p class="quiet" id="homes">{homes}</p></div>
</div>
{bar}<p class="quiet small"><span id="covered">{covered}</span> {heard}</p>""",
        this_home=words("this_home"),
        community=words("community"),
        own=_watts(words, "own", power.own_w),
        roof=_roof(moment),
        net=_watts(words, "net", power.taken_w - power.given_w if power.heard else None),
        homes=words("homes_now", taken=words.power(power.taken_w), given=words.power(power.given_w)),
        bar=charts.share_bar(_covered(moment), words("community"), "share-now"),
        covered=words("covered", share=_percent(power.given_w, power.taken_w)) if power.taken_w else "",
        heard=words.counted(moment.figures.meters, "heard", heard=power.heard, meters=moment.figures.meters),
    )


def _watts(words: Words, name: str, power_w: int | None) -> Html:
    if power_w is None:
        return fill(
            '<p class="big" id="{name}"><span class="unheard">{silent}</span></p>', name=name, silent=words("silent")
        )
    way = "gives" if power_w < 0 else "draws"
    return fill(
        '<p class="big {way}" id="{name}"><b>{number}</b> W <span>{word}</span></p>',
        name=name,
        way=way,
        number=words.number(abs(power_w)),
        word=words(way),
    )


def _roof(moment: Moment) -> str:
    power, words = moment.figures.power, moment.words
    if power.own_w is None or power.own_produced_w is None:
        return ""
    used_w = max(0, power.own_w + power.own_produced_w)
    return words("roof_now", produced=words.power(power.own_produced_w), used=words.power(used_w))


def _covered(moment: Moment) -> list[tuple[str, int]]:
    power = moment.figures.power
    shared_w = min(power.given_w, power.taken_w)
    return [("neighbours", shared_w), ("grid", power.taken_w - shared_w)]


def power(moment: Moment) -> Html:
    """The line of power."""
    words = moment.words
    if not moment.points:
        return fill('<p class="quiet">{text}</p>', text=words("chart_wait"))
    keys = (("home", words("this_home")), ("community", words("community")))
    return join(
        (
            charts.power(moment.points, moment.now_s, moment.window_s, words, moment.zone),
            _legend(keys),
        )
    )


def power_title(moment: Moment) -> str:
    """What the line spans."""
    return charts.power_title(moment.window_s, moment.words)


def today(moment: Moment) -> Html:
    """Energy of the day by source, which add up to what was used, and the day's money."""
    words, day = moment.words, moment.figures.day
    if not day.periods:
        return fill('<p class="quiet">{text}</p>', text=words("nothing_yet"))
    # Whole per cent that add up to 100, by the same splitter as everything else.
    percent = split(100 if day.consumption_wh else 0, ((name.encode(), wh) for name, wh in shares(day)))
    rows = join(
        fill(
            '<div><dt class="key {name}">{word}</dt><dd>{energy} <small>{share} %</small></dd></div>',
            name=name,
            word=words(name),
            energy=words.energy(energy_wh),
            share=percent[name.encode()],
        )
        for name, energy_wh in shares(day)
    )
    gave = day.sold_wh or day.fed_in_wh
    hint = words.counted(day.estimated, "estimated", count=day.estimated, periods=day.periods) if day.estimated else ""
    return fill(
        """<p class="big"><b>{used}</b> kWh <span>{word}</span></p>{bar}<dl class="sources">{rows}</dl>
<p class="quiet">{given}</p><p class="quiet">{money}</p><p class="quiet small">{hint}</p>""",
        used=words.kwh(day.consumption_wh),
        word=words("used"),
        bar=charts.share_bar(shares(day), words("today"), "share-today"),
        rows=rows,
        given=words("given_away", sold=words.energy(day.sold_wh), fed_in=words.energy(day.fed_in_wh)) if gave else "",
        money=words("today_money", received=moment.money(day.in_u), paid=moment.money(day.out_u)),
        hint=hint,
    )


def period(moment: Moment) -> Html:
    """The settlement period that runs, with what is left of it."""
    words, figures = moment.words, moment.figures
    start_s, length_s = figures.period_start_s, figures.period_length_s
    left_s = start_s + length_s - moment.now_s
    last = figures.last_period
    settled = ""
    if last is not None:
        settled = words("last_settled", span=moment.span(last.start_s), complete=last.completeness_ppm * 100 // PPM)
    return fill(
        """<p class="big" id="countdown" data-end="{end}"><b>{left}</b> <span>{word}</span></p>
<p>{span}</p><progress id="progress" max="{length}" value="{gone}" aria-label="{label}"></progress>
<p class="quiet small">{settled}</p>""",
        end=start_s + length_s,
        left=f"{left_s // 60}:{left_s % 60:02d}",
        word=words("period_left"),
        span=moment.span(start_s),
        length=length_s,
        gone=length_s - left_s,
        label=words("period"),
        settled=settled,
    )


def prices(moment: Moment) -> Html:
    """What a kWh costs, dearest first."""
    words, found = moment.words, moment.figures.prices
    rows = [
        ("price_grid", "grid", found.grid_u_kwh),
        ("price_neighbours", "neighbours", found.neighbours_u_kwh),
        ("price_last", "traded", found.last_u_kwh),
        ("price_feed_in", "feed", found.feed_in_u_kwh),
    ]
    known = sorted([(price, name, key) for key, name, price in rows if price is not None], reverse=True)
    ladder = join(
        fill(
            '<div><dt class="key {name}">{word}</dt><dd>{price}</dd></div>',
            name=name,
            word=words(key),
            price=moment.price(price),
        )
        for price, name, key in known
    )
    fee = words("price_fee", fee=moment.price(found.fee_u_kwh)) if found.fee_u_kwh else ""
    return fill('<dl class="sources">{ladder}</dl><p class="quiet small">{fee}</p>', ladder=ladder, fee=fee)


def balance(moment: Moment) -> Html:
    """What the community and this home owe one another."""
    words, figures = moment.words, moment.figures
    claim_u = figures.claim_u
    whole, _, rest = words.money(abs(claim_u), figures.currency).partition(" ")
    cut = len(words.decimal(f"{abs(claim_u) // MICRO}.00"))
    holdings = join(
        fill("<div><dt>{asset}</dt><dd>{free}</dd></div>", asset=row.asset, free=words.number(row.free + row.held))
        for row in figures.holdings
    )
    return fill(
        '<p class="big {way}"><b>{cents}</b><small>{finer}</small> {currency}</p><p>{sentence}</p>{holdings}',
        way="gives" if claim_u > 0 else "draws",
        cents=whole[:cut],
        finer=whole[cut:],
        currency=rest,
        sentence=words("owed" if claim_u > 0 else "owes" if claim_u < 0 else "even"),
        holdings=fill('<dl class="facts">{rows}</dl>', rows=holdings) if holdings else NONE,
    )


def energy(moment: Moment) -> Html:
    """Energy by source, a bar a period, and the newest periods as a table."""
    words, figures = moment.words, moment.figures
    if not figures.chart:
        return fill('<p class="quiet">{text}</p>', text=words("energy_wait"))
    rows = join(
        _table_row(
            moment.short_span(line.start_s),
            *(words.kwh(value) for value in (line.own_wh, line.neighbours_wh, line.grid_wh, line.consumption_wh)),
        )
        for line in reversed(figures.chart[-TABLE_ROWS:])
    )
    heads = (f"{words('when')}, kWh", words("own"), words("neighbours"), words("grid"), words("total"))
    return fill(
        '{chart}{legend}<details id="energy-table"><summary>{word}</summary>{table}</details>',
        chart=charts.energy(figures.chart, figures.period_length_s, words, moment.zone),
        legend=_legend(tuple((name, words(name)) for name in ("own", "neighbours", "grid"))),
        word=words("as_table"),
        table=_table("energy", words("energy"), heads, rows),
    )


def trades(moment: Moment) -> Html:
    """The newest trades, ours marked."""
    words, figures = moment.words, moment.figures
    if not figures.trades:
        return fill('<p class="quiet">{text}</p>', text=words("no_trades" if figures.orders_open else "no_market"))
    rows = join(_trade(moment, trade) for trade in figures.trades)
    heads = (words("when"), words("from_to"), "kWh", f"{figures.currency}/kWh")
    return _table("trades", words("trades"), heads, rows)


def _trade(moment: Moment, trade: TradeRow) -> Html:
    words, own = moment.words, moment.figures.account

    def who(account: str, name: str) -> str:
        if account == own or not moment.figures.names_hidden:
            return name
        return words("somebody")

    whole = words.kwh(trade.energy_wh)
    partly = trade.delivered_wh != trade.energy_wh
    return _table_row(
        moment.short_span(trade.start_s),
        fill(
            "{seller} <span class='arrow' aria-hidden='true'>→</span> {buyer}",
            seller=who(trade.seller, trade.seller_name),
            buyer=who(trade.buyer, trade.buyer_name),
        ),
        fill(
            "{whole}<small>{note}</small>",
            whole=whole,
            note=words("delivered", delivered=words.kwh(trade.delivered_wh)),
        )
        if partly
        else whole,
        moment.bare_price(trade.price_u_kwh),
        mine=own in (trade.buyer, trade.seller),
    )


def orders(moment: Moment) -> Html:
    """This home's newest orders and what became of them."""
    words, figures = moment.words, moment.figures
    if not figures.orders:
        return fill('<p class="quiet">{text}</p>', text=words("no_orders" if figures.orders_open else "no_market"))
    rows = join(
        _table_row(
            moment.short_span(order.start_s),
            f"{words(order.side)} {words.kwh(order.energy_wh)}",
            moment.bare_price(order.price_u_kwh),
            _fate(words, order),
        )
        for order in figures.orders
    )
    heads = (words("when"), "kWh", f"{figures.currency}/kWh", words("state"))
    return _table("orders", words("orders"), heads, rows)


def _fate(words: Words, order: OrderRow) -> str:
    if order.state != "closed":
        return words(order.state)
    if order.filled_wh == order.energy_wh:
        return words("filled")
    return words("partly", filled=words.kwh(order.filled_wh)) if order.filled_wh else words("unfilled")


def blocks(moment: Moment) -> Html:
    """The newest blocks."""
    words, figures = moment.words, moment.figures
    if not figures.blocks:
        return fill('<p class="quiet">{text}</p>', text=words("no_blocks"))
    rows = join(
        _table_row(
            words.number(block.height),
            moment.zone.clock(block.time_s, seconds=True),
            words.number(block.records),
            _led(block),
        )
        for block in figures.blocks
    )
    heads = (words("height"), words("time"), words("records"), words("leader"))
    return _table("blocks", words("blocks"), heads, rows)


def node(moment: Moment) -> Html:
    """The node's own health."""
    words, status = moment.words, moment.status
    speed = words("clock_fast", speed=status.speed) if status.demonstration else words("clock_real")
    rows = [
        (words("role"), words(f"role_{status.role}")),
        (words("leader"), _leader(moment) or words("nobody")),
        (words("height"), words.number(status.height)),
        (
            words("peers"),
            words.counted(status.validators, "peers_of", peers=status.peers, validators=status.validators),
        ),
        (words("clock"), f"{moment.zone.clock(moment.now_s, seconds=True)}, {speed}"),
        *((meter.name, _meter(words, meter)) for meter in status.meters),
        (words("waiting"), words.number(status.mempool)),
        *_times(words, "commit", status.commit_ms),
        *_times(words, "screen", status.screen_ms),
        (words("memory"), f"{words.number(status.rss_mb)} MB"),
        (words("chain"), status.chain_id[:16]),
        (words("state_hash"), status.state_hash[:16]),
    ]
    if not status.meters:
        rows.insert(5, (words("meters"), words("no_meters")))
    facts = join(fill("<div><dt>{name}</dt><dd>{value}</dd></div>", name=name, value=value) for name, value in rows)
    halted = NONE
    if status.halted:
        halted = fill('<p class="alarm">{text}</p>', text=words("halted", why=status.halted))
    elif status.notice:
        halted = fill('<p class="alarm">{text}</p>', text=words("notice", why=status.notice))
    found_out = join(fill('<p class="alarm">{text}</p>', text=_found_out(words, found)) for found in status.found_out)
    warned = join(
        fill('<p class="alarm">{text}</p>', text=words("warned", what=what)) for what in moment.figures.warnings
    )
    return fill(
        '{halted}{found_out}{warned}<dl class="facts">{facts}</dl>{advice}',
        halted=halted,
        found_out=found_out,
        warned=warned,
        facts=facts,
        advice=_advice(moment),
    )


def _found_out(words: Words, found: FoundOut) -> str:
    what = words(f"lie_{found.kind.lower()}", term=found.term, height=found.height)
    key = "found_out" if found.status == "proved" else f"found_out_{found.status}"
    return words(key, name=found.name, what=what)


def _advice(moment: Moment) -> Html:
    """What the autopilot proposes about the validators; it is done by command, by who may."""
    words, proposal = moment.words, moment.roster.proposal
    if proposal is None:
        return NONE
    hours = max(1, proposal.absent_s // 3600)
    why = words(f"advice_{proposal.reason}", name=proposal.gone, hours=words.number(hours))
    commands = join(fill("<li><code>{command}</code></li>", command=command) for command in moment.roster.commands)
    who = NONE if moment.roster.may_decide else fill("<p>{text}</p>", text=words("advice_who"))
    return fill('<div class="advice"><p>{why}</p><ol>{commands}</ol>{who}</div>', why=why, commands=commands, who=who)


def _leader(moment: Moment) -> str:
    """Who leads, as far as this node knows: a learner hears no elections, only the blocks that were made."""
    status, newest = moment.status, moment.figures.blocks[:1]
    if status.leader or status.role != LEARNER or not newest:
        return status.leader
    return _led(newest[0])


def _led(block: BlockRow) -> str:
    return block.leader or block.leader_key[:8]


def _meter(words: Words, meter: MeterHealth) -> str:
    state = {
        "reading": words.counted(meter.telegrams, "reading", telegrams=words.number(meter.telegrams)),
        "silent": words("meter_silent"),
        "failed": words("meter_failed"),
    }.get(meter.state, meter.state)
    return f"{meter.driver}, {state}" + (f": {meter.problem}" if meter.problem else "")


def _times(words: Words, key: str, times: Mapping[str, int]) -> list[tuple[str, str]]:
    if not times:
        return []
    return [(words(key), words("median", p50=words.number(times["p50"]), p95=words.number(times["p95"])))]


def _legend(keys: Sequence[tuple[str, str]]) -> Html:
    items = join(fill('<li class="key {name}">{word}</li>', name=name, word=word) for name, word in keys)
    return fill('<ul class="legend">{items}</ul>', items=items)


def _table(name: str, caption: str, heads: Sequence[str], rows: Html) -> Html:
    return fill(
        '<div class="scroll"><table class="{name}"><caption>{caption}</caption><thead><tr>{heads}</tr></thead>'
        "<tbody>{rows}</tbody></table></div>",
        name=name,
        caption=caption,
        heads=join(fill('<th scope="col">{head}</th>', head=head) for head in heads),
        rows=rows,
    )


def _table_row(*cells: str, mine: bool = False) -> Html:
    inner = join(fill("<td>{cell}</td>", cell=cell) for cell in cells)
    return fill("<tr{mine}>{inner}</tr>", mine=Html(' class="mine"' if mine else ""), inner=inner)


def _percent(part: int, whole: int) -> int:
    """A share in whole per cent, rounded; 100 at most, as what is given can exceed what is drawn."""
    return min(100, (200 * part + whole) // (2 * whole)) if whole else 0


PARTS: Final[dict[str, Callable[[Moment], Html]]] = {
    "now": now,
    "power": power,
    "today": today,
    "period": period,
    "prices": prices,
    "balance": balance,
    "energy": energy,
    "trades": trades,
    "orders": orders,
    "blocks": blocks,
    "node": node,
}
