"""Book stories: text files about the continuous book, auctions, partners, the agent and grid fees.

Read and written like the stories of `tests.market.stories`; the commands are those of `COMMANDS`.

    python -m tests.market.book_stories --rewrite FILE...
"""

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from meshnode.amounts import format_energy, parse_energy, value
from meshnode.market import Order, Side, Terms, Trade
from meshnode.market import falling_auction as falling
from meshnode.market import rising_auction as rising
from meshnode.market.agent import NO_LIMIT_WH, AgentError, Targets, act
from meshnode.market.book import Book
from meshnode.market.clearing import welfare
from meshnode.market.grid_fees import GridFees, grid_fee
from meshnode.market.partners import Preference, pair
from meshnode.market.registry import installed_mechanisms
from meshnode.market.standing import FREE, Band, Effects, Left, StandingOrder, TimeInForce
from tests.market.stories import Block, account, name_of, options, price, read, shown, write

BOTH = {"bid": Side.BUY, "offer": Side.SELL}


class World(msgspec.Struct):
    """What one file's blocks share: the book, and how many orders were booked in it."""

    book: Book
    booked: int = 0
    band: Band = FREE


def play(blocks: list[Block]) -> list[Block]:
    """Run every block; return the blocks with what the code says as expectation."""
    world = World(Book())
    played = []
    for block in blocks:
        found = block.expected
        if block.command:
            name, _, arguments = block.command.partition(" ")
            found = COMMANDS[name](world, arguments.split(), block.lines)
        played.append(msgspec.structs.replace(block, expected=found))
    return played


# --- the continuous book ----------------------------------------------------------------------------


def run_book(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """book [cap=P] [floor=P]: a new book; then one operation a line.

    bid|offer NAME N Wh P [gtc|ioc|fok|market] [ready=N] [until=S] [first=NAME@P]
    back NUMBER N | amend NUMBER N P [ready=N] | cancel NUMBER | time S | quote
    NUMBER is the order's: they are numbered as they come.
    """
    given = options(arguments)
    bounds = [price(given[name]) if name in given else None for name in ("floor", "cap")]
    world.book, world.booked, world.band = Book(), 0, Band(*bounds)
    return run_then(world, [], lines)


def run_then(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """then: the book goes on; see `book`."""
    told: list[str] = []
    for line in lines:
        told += operate(world, line.split())
        assert world.book.executable_cross() is None
    return told


def operate(world: World, words: list[str]) -> list[str]:
    book = world.book
    if words[0] in BOTH:
        return place(world, words)
    if words[0] == "quote":
        found = book.quote()
        spelled = [
            "-" if one is None else shown(one)
            for one in (found.buying_u_kwh, found.selling_u_kwh, found.buying_now_u_kwh, found.selling_now_u_kwh)
        ]
        return ["buying at {}, selling at {}; now at {} and {}".format(*spelled)]
    if words[0] == "time":
        return tell(book.expire(int(words[1])))
    number = int(words[1])
    if words[0] == "cancel":
        return tell(book.cancel(order_id(number)))
    if words[0] == "back":
        return tell(book.back(order_id(number), int(words[2])))
    given = options(words[4:])
    world.booked += 1
    amended = book.amend(
        order_id(number),
        int(words[2]),
        price(words[3]),
        sequence=(1, world.booked),
        ready_wh=int(given.get("ready", words[2])),
        band=world.band,
    )
    return tell(amended)


def place(world: World, words: list[str]) -> list[str]:
    side, name, energy, unit, limit = words[:5]
    given = options([word for word in words[5:] if "=" in word])
    force = next((word for word in words[5:] if "=" not in word), "gtc")
    energy_wh = parse_energy(f"{energy} {unit}")
    partner, _, partner_price = given.get("first", "").partition("@")
    world.booked += 1
    order = StandingOrder(
        order_id=order_id(world.booked),
        account=account(name),
        side=BOTH[side],
        energy_wh=energy_wh,
        ready_wh=int(given.get("ready", energy_wh)),
        price_u_kwh=price(limit),
        sequence=(1, world.booked),
        expires_s=int(given["until"]) if "until" in given else None,
        partner=account(partner) if partner else None,
        partner_price_u_kwh=price(partner_price) if partner else None,
    )
    return tell(world.book.place(order, TimeInForce[force.upper()], world.band))


def order_id(number: int) -> bytes:
    return number.to_bytes(32, "big")


def tell(effects: Effects) -> list[str]:
    """Trades, then what became of the orders."""
    return [
        *map(tell_trade, effects.trades),
        *(f"  {named(order)}: {amounts(order)}" for order in effects.resting),
        *(f"  {named(left.order)}: {ending(left)}" for left in effects.left),
    ]


def tell_trade(trade: Trade) -> str:
    return f"{name_of(trade.buyer)} <- {name_of(trade.seller)} {trade.energy_wh} Wh {shown(trade.price_u_kwh)}"


def named(order: StandingOrder) -> str:
    return f"{int.from_bytes(order.order_id, 'big')} {name_of(order.account)}"


def amounts(order: StandingOrder) -> str:
    ready = "" if order.ready_wh == order.energy_wh else f", {order.ready_wh} Wh ready"
    return f"rests with {order.energy_wh} Wh at {shown(order.price_u_kwh)}{ready}"


def ending(left: Left) -> str:
    open_wh = f", {left.order.energy_wh} Wh open" if left.order.energy_wh else ""
    return f"{left.why.name.lower().replace('_', ' ')}{open_wh}"


# --- mechanisms over one period ---------------------------------------------------------------------


def orders_of(lines: list[str]) -> list[Order]:
    """`bid|offer NAME N Wh P [first=NAME@P]`, booked from the top down."""
    return [
        Order(
            order_id=order_id(position + 1),
            account=account(words[1]),
            side=BOTH[words[0]],
            period=7,
            energy_wh=parse_energy(f"{words[2]} {words[3]}"),
            price_u_kwh=price(words[4]),
            sequence=(1, position),
        )
        for position, words in enumerate(line.split() for line in lines)
    ]


def run_clear(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """clear MECHANISM: trades, the sum, and what they are worth to both sides."""
    orders = orders_of(lines)
    clearing = installed_mechanisms().get(arguments[0], 1).clear(orders, Terms(0, 0))
    limits = {order.order_id: order.price_u_kwh for order in orders}
    buyers, sellers = welfare(clearing.trades, limits)
    total = sum(value(trade.price_u_kwh, trade.energy_wh) for trade in clearing.trades)
    return [
        *map(tell_trade, clearing.trades),
        f"{clearing.energy_wh} Wh, {total} u; buyers gain {buyers} u, sellers {sellers} u",
    ]


def run_partners(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """partners: what partners trade, and what is left for the clearing."""
    wishes = []
    for number, line in enumerate(lines, 1):
        for word in line.split()[5:]:
            partner, _, limit = word.removeprefix("first=").partition("@")
            wishes.append(Preference(order_id(number), account(partner), price(limit)))
    found = pair(orders_of(lines), wishes)
    left = [
        f"  {name_of(order.account)} {order.side.name.lower()}: {order.energy_wh} Wh left" for order in found.orders
    ]
    return [*map(tell_trade, found.trades), *left]


# --- auctions ---------------------------------------------------------------------------------------


def run_rising(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """rising NAME N Wh reserve=P step=P closes=S [snipe=S] [latest=S]: lines `S NAME P`, then the close."""
    given = options(arguments[3:])
    closes_s = int(given["closes"])
    lot = rising.Lot(
        auction_id=order_id(100),
        seller=account(arguments[0]),
        energy_wh=parse_energy(" ".join(arguments[1:3])),
        reserve_u_kwh=price(given["reserve"]),
        step_u_kwh=price(given["step"]),
        opens_s=0,
        closes_s=closes_s,
        snipe_s=int(given.get("snipe", 0)),
        latest_s=int(given.get("latest", closes_s)),
    )
    auction = rising.open_auction(lot)
    told = []
    for number, line in enumerate(lines):
        time_s, name, limit = line.split()
        done = rising.place(auction, rising.Bid(order_id(number), account(name), price(limit)), int(time_s))
        if done.refusal is not None:
            told.append(f"{line}: {done.refusal.name.lower().replace('_', ' ')}")
        else:
            outbid = f", {name_of(done.displaced.account)} is outbid" if done.displaced else ""
            later = f", closes at {done.auction.closes_s}" if done.auction.closes_s != auction.closes_s else ""
            told.append(f"{line}: best{outbid}{later}")
        auction = done.auction
    award = rising.close_auction(auction, auction.closes_s)
    return [*told, *map(tell_trade, award.trades), *unsold(award.open_wh)]


def run_falling(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """falling NAME N Wh maximum=P closes=S [NAME:VALUE ...]: lines `S NAME N Wh P [NAME:VALUE ...]`, then the close."""
    given = options([word for word in arguments[3:] if "=" in word])
    call = falling.Call(
        auction_id=order_id(100),
        buyer=account(arguments[0]),
        energy_wh=parse_energy(" ".join(arguments[1:3])),
        maximum_u_kwh=price(given["maximum"]),
        attributes=attributes(arguments[3:]),
        opens_s=0,
        closes_s=int(given["closes"]),
    )
    auction = falling.open_auction(call)
    told = []
    for number, line in enumerate(lines):
        time_s, name, energy, unit, limit, *more = line.split()
        ask = falling.Ask(
            order_id(number),
            account(name),
            parse_energy(f"{energy} {unit}"),
            price(limit),
            (1, number),
            attributes(more),
        )
        done = falling.place(auction, ask, int(time_s))
        if done.refusal is not None:
            told.append(f"{line}: {done.refusal.name.lower().replace('_', ' ')}")
        elif done.displaced is not None:
            told.append(f"{line}: instead of {shown(done.displaced.price_u_kwh)}")
        auction = done.auction
    award = falling.close_auction(auction, call.closes_s)
    return [*told, *map(tell_trade, award.trades), *unsold(award.open_wh)]


def attributes(words: list[str]) -> falling.Attributes:
    pairs = [word.split(":") for word in words if ":" in word]
    return tuple(sorted((name, of) for name, of in pairs))


def unsold(open_wh: int) -> list[str]:
    return [f"{open_wh} Wh find nobody"] if open_wh else []


# --- agent and grid fees ----------------------------------------------------------------------------


def run_agent(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """agent buy=P sell=P low=N target=N high=N [most=N]: lines `BALANCE [ordered]`."""
    given = options(arguments)
    try:
        targets = Targets(
            price(given["buy"]), price(given["sell"]), int(given["low"]), int(given["target"]), int(given["high"])
        )
    except AgentError as error:
        return [str(error)]
    told = []
    for line in lines:
        balance, *ordered = line.split()
        wish = act(targets, int(balance), bool(ordered), int(given.get("most", NO_LIMIT_WH)))
        told.append(
            f"{wish.side.name.lower()} {format_energy(wish.energy_wh)} at {shown(wish.price_u_kwh)}"
            if wish
            else "nothing"
        )
    return told


def run_fees(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """fees P P ...: lines `LOCATION <- LOCATION`, a location like town/transformer."""
    fees = GridFees(tuple(price(word) for word in arguments))
    ends = [[tuple(end.split("/")) for end in line.split(" <- ")] for line in lines]
    return [shown(grid_fee(fees, buyer, seller)) for buyer, seller in ends]


COMMANDS: dict[str, Callable[[World, list[str], list[str]], list[str]]] = {
    "book": run_book,
    "then": run_then,
    "clear": run_clear,
    "partners": run_partners,
    "rising": run_rising,
    "falling": run_falling,
    "agent": run_agent,
    "fees": run_fees,
}


def main(arguments: list[str]) -> int:
    """Write what the code says now into the files; without --rewrite, print it."""
    for path in map(Path, (argument for argument in arguments if argument != "--rewrite")):
        text = write(play(read(path.read_text(encoding="utf-8"))))
        if "--rewrite" in arguments:
            path.write_text(text, encoding="utf-8")
        else:
            print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
