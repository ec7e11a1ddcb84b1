"""Stories: text files that somebody in the community can check with a pencil.

    # why this happens
    command and its arguments
    input lines
    ----
    expected output

Blocks are separated by blank lines. Names stand for accounts, money is in EUR.
The commands are the functions of `COMMANDS`. After a change that is understood,

    python -m tests.market.stories --rewrite FILE...

writes what the code says now; without the flag it shows the differences.
"""

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from meshnode.amounts import (
    AmountError,
    format_energy,
    format_money,
    parse_energy,
    parse_money,
    parse_price,
    split,
    value,
)
from meshnode.market import Order, Side, Terms, Trade
from meshnode.market.registry import installed_mechanisms
from meshnode.settlement import (
    Entry,
    Metered,
    PeriodInputs,
    Posting,
    Quality,
    Settlement,
    Tariff,
    changes_by_account,
    check_settlement,
    completeness_ppm,
    correct,
    estimate,
    settle,
)
from tests.market import stories_sharing

EURO = b"euro".ljust(16, b"\0")


class Block(msgspec.Struct):
    """One command with its input and the output that is expected of it."""

    line: int
    head: list[str]
    command: str
    lines: list[str]
    expected: list[str]


class World(msgspec.Struct):
    """What one file's blocks share: the period settled last, and every posting so far."""

    inputs: PeriodInputs | None = None
    settlement: Settlement | None = None
    postings: list[Posting] = []


def read(text: str) -> list[Block]:
    """Cut a story file into blocks; a block without a command is a comment and must not have output."""
    blocks: list[Block] = []
    for number, chunk in _chunks(text):
        head = [line for line in chunk if line.startswith("#")]
        body = chunk[len(head) :]
        if body:
            if "----" not in body:
                raise ValueError(f"line {number}: no ---- between input and expected output")
            cut = body.index("----")
            blocks.append(Block(number, head, body[0], body[1:cut], body[cut + 1 :]))
        else:
            blocks.append(Block(number, head, "", [], []))
    return blocks


def write(blocks: list[Block]) -> str:
    """The text of a story file; the inverse of `read` up to spare blank lines."""
    chunks = []
    for block in blocks:
        body = [block.command, *block.lines, "----", *block.expected] if block.command else []
        chunks.append("\n".join([*block.head, *body]))
    return "\n\n".join(chunks) + "\n"


def play(blocks: list[Block]) -> list[Block]:
    """Run every block; return the blocks with what the code says as expectation."""
    world = World()
    played = []
    for block in blocks:
        found = block.expected
        if block.command:
            name, _, arguments = block.command.partition(" ")
            found = COMMANDS[name](world, arguments.split(), block.lines)
        played.append(msgspec.structs.replace(block, expected=found))
    return played


def _chunks(text: str) -> list[tuple[int, list[str]]]:
    chunks: list[tuple[int, list[str]]] = []
    current: list[str] = []
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.strip():
            current.append(line.rstrip())
        elif current:
            chunks.append((number - len(current), current))
            current = []
    return chunks


# --- names and numbers ------------------------------------------------------------------------------


def account(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def name_of(account_id: bytes) -> str:
    return account_id.rstrip(b"\0").decode()


def price(text: str) -> int:
    return parse_price(f"{text} EUR/kWh", "EUR")


def shown(price_u_kwh: int) -> str:
    return format_money(price_u_kwh, "").strip()


def options(arguments: list[str]) -> dict[str, str]:
    return dict(argument.split("=", 1) for argument in arguments)


# --- commands: amounts ------------------------------------------------------------------------------


def run_parse(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """parse price|money|energy: each line is read; the whole number, or the error."""
    readers: dict[str, Callable[[str], int]] = {
        "price": lambda text: parse_price(text, "EUR"),
        "money": lambda text: parse_money(text, "EUR"),
        "energy": parse_energy,
    }
    found = []
    for line in lines:
        try:
            found.append(f"{readers[arguments[0]](line)}")
        except AmountError as error:
            found.append(str(error))
    return found


def run_format(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """format money|energy: each line is a whole number."""
    if arguments[0] == "money":
        return [format_money(int(line), "EUR") for line in lines]
    return [format_energy(int(line)) for line in lines]


def run_value(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """value: each line is micro-units per kWh, then Wh."""
    return [f"{value(*(int(word) for word in line.split()))}" for line in lines]


def run_split(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """split TOTAL: each line is a name and a weight."""
    weights = [(account(name), int(weight)) for name, weight in (line.split() for line in lines)]
    try:
        return [f"{name_of(key)} {part}" for key, part in split(int(arguments[0]), weights).items()]
    except AmountError as error:
        return [str(error)]


# --- commands: market -------------------------------------------------------------------------------


def run_clear(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """clear MECHANISM [grid=P feed-in=P]: lines `bid|offer NAME N Wh PRICE`, booked from the top down."""
    given = options(arguments[1:])
    terms = Terms(price(given.get("grid", "0")), price(given.get("feed-in", "0")))
    orders = []
    for position, line in enumerate(lines):
        side, name, energy, unit, limit = line.split()
        orders.append(
            Order(
                order_id=f"{side} {position + 1}".encode(),
                account=account(name),
                side={"bid": Side.BUY, "offer": Side.SELL}[side],
                period=7,
                energy_wh=parse_energy(f"{energy} {unit}"),
                price_u_kwh=price(limit),
                sequence=(1, position),
            )
        )
    clearing = installed_mechanisms().get(arguments[0], 1).clear(orders, terms)
    owners = {order.order_id: name_of(order.account) for order in orders}
    found = [
        f"{name_of(trade.buyer)} <- {name_of(trade.seller)} {trade.energy_wh} Wh {shown(trade.price_u_kwh)}"
        for trade in clearing.trades
    ]
    found += [
        f"{owners[fill.order_id]}: {fill.own_wh} Wh of {fill.order_id.decode()} met an own order"
        for fill in clearing.fills
        if fill.own_wh
    ]
    if clearing.price_u_kwh is None:
        return [*found, "no price"]
    assert clearing.low_u_kwh is not None and clearing.high_u_kwh is not None
    total = sum(value(trade.price_u_kwh, trade.energy_wh) for trade in clearing.trades)
    return [
        *found,
        f"{clearing.energy_wh} Wh at {shown(clearing.price_u_kwh)} "
        f"({shown(clearing.low_u_kwh)} to {shown(clearing.high_u_kwh)}), {total} u",
    ]


# --- commands: settlement ---------------------------------------------------------------------------


def run_settle(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """settle grid=P feed-in=P [sharing=NAME] [shared=P] [fee=P]: meters, trades and funds; lines, then postings.

    NAME import N [export N] [produced N] [estimated|corrected]
    NAME <- NAME N PRICE
    fund NAME PPM
    weight NAME N
    """
    given = options(arguments)
    metered: list[Metered] = []
    trades: list[Trade] = []
    funds: list[tuple[bytes, int]] = []
    weights: list[tuple[bytes, int]] = []
    for line in lines:
        words = line.split()
        if words[0] == "fund":
            funds.append((account(words[1]), int(words[2])))
        elif words[0] == "weight":
            weights.append((account(words[1]), int(words[2])))
        elif words[1] == "<-":
            orders = [f"{side} {len(trades) + 1}".encode() for side in ("bid", "offer")]
            trades.append(Trade(account(words[0]), account(words[2]), *orders, int(words[3]), price(words[4])))
        else:
            metered.append(read_meter(words))
    world.inputs = PeriodInputs(
        period=7,
        asset=EURO,
        metered=tuple(metered),
        trades=tuple(trades),
        tariff=Tariff(
            grid_price_u_kwh=price(given["grid"]),
            feed_in_price_u_kwh=price(given["feed-in"]),
            sharing=given.get("sharing"),
            fee_u_kwh=price(given.get("fee", "0")),
            fee_split=tuple(funds),
            weights=tuple(weights),
            shared_price_u_kwh=price(given.get("shared", "0")),
        ),
    )
    world.settlement = settle(world.inputs)
    check_settlement(world.inputs, world.settlement)
    world.postings = list(world.settlement.postings)
    return [*tell_lines(world.settlement), *tell_postings(world.settlement.postings)]


def run_correct(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """correct: each line is a meter as it should have been; new lines, then reversals and replacements."""
    assert world.inputs is not None and world.settlement is not None
    better = {metered.account: metered for metered in (read_meter(line.split()) for line in lines)}
    inputs = msgspec.structs.replace(
        world.inputs, metered=tuple(better.get(metered.account, metered) for metered in world.inputs.metered)
    )
    settlement = settle(inputs)
    check_settlement(inputs, settlement)
    postings = correct(world.settlement, settlement)
    world.inputs, world.settlement = inputs, settlement
    world.postings.extend(postings)
    return [*tell_lines(settlement), *tell_postings(postings)]


def run_balances(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """balances: received less paid of every account since the period was settled first; they sum to zero."""
    changes = changes_by_account(world.postings)
    return [
        *(f"{name_of(key)} {format_money(change, 'EUR')}" for key, change in changes.items()),
        f"together {format_money(sum(changes.values()), 'EUR')}",
    ]


def run_estimate(world: World, arguments: list[str], lines: list[str]) -> list[str]:
    """estimate NAME period=N per-day=N days=N: lines `period N METER`."""
    given = options(arguments[1:])
    history = [(int(line.split()[1]), read_meter(line.split()[2:])) for line in lines]
    found = estimate(
        account(arguments[0]),
        int(given["period"]),
        history,
        int(given["per-day"]),
        int(given["days"]),
    )
    produced = "" if found.produced_wh is None else f" produced {found.produced_wh}"
    return [
        f"{name_of(found.account)} import {found.import_wh} export {found.export_wh}{produced} "
        f"{found.quality.name.lower()}",
        f"complete {completeness_ppm([found])} ppm",
    ]


def read_meter(words: list[str]) -> Metered:
    quality = Quality.MEASURED
    if words[-1].upper() in Quality.__members__:
        quality = Quality[words[-1].upper()]
        words = words[:-1]
    registers = {word: int(number) for word, number in zip(words[1::2], words[2::2], strict=True)}
    return Metered(
        account=account(words[0]),
        import_wh=registers.get("import", 0),
        export_wh=registers.get("export", 0),
        produced_wh=registers.get("produced"),
        quality=quality,
    )


def tell_lines(settlement: Settlement) -> list[str]:
    found = []
    for line in settlement.lines:
        sources = f"{line.own_wh} own + {line.neighbours_wh} neighbours + {line.grid_wh} grid"
        given = f"; {line.sold_wh} sold, {line.fed_in_wh} fed in" if line.sold_wh or line.fed_in_wh else ""
        money = f"; in {shown(line.in_u)}, out {shown(line.out_u)}"
        quality = "" if line.quality is Quality.MEASURED else f" ({line.quality.name.lower()})"
        found.append(f"{name_of(line.account)}: {sources} = {line.consumption_wh} Wh{given}{money}{quality}")
    if settlement.provisional:
        found.append(f"provisional, complete {settlement.completeness_ppm} ppm")
    return found


def tell_postings(postings: tuple[Posting, ...]) -> list[str]:
    return [
        f"{name_of(posting.debit)} -> {name_of(posting.credit)} {format_money(posting.amount_u, 'EUR')} "
        f"{posting.reason.name.lower().replace('_', ' ')} {posting.energy_wh} Wh "
        f"at {shown(posting.price_u_kwh)}"
        f"{'' if posting.entry is Entry.FIRST else ' ' + posting.entry.name.lower()}"
        for posting in postings
    ]


def without_world(
    command: Callable[[list[str], list[str]], list[str]],
) -> Callable[[World, list[str], list[str]], list[str]]:
    """A command that looks only at its own block."""
    return lambda world, arguments, lines: command(arguments, lines)


COMMANDS: dict[str, Callable[[World, list[str], list[str]], list[str]]] = {
    "parse": run_parse,
    "format": run_format,
    "value": run_value,
    "split": run_split,
    "clear": run_clear,
    "settle": run_settle,
    "correct": run_correct,
    "balances": run_balances,
    "estimate": run_estimate,
    **{name: without_world(command) for name, command in stories_sharing.COMMANDS.items()},
}


def main(arguments: list[str]) -> int:
    """Show what differs, or with --rewrite write it."""
    differs = 0
    for path in map(Path, (argument for argument in arguments if argument != "--rewrite")):
        blocks = read(path.read_text(encoding="utf-8"))
        before, after = write(blocks), write(play(blocks))
        if before != after:
            differs = 1
            sys.stdout.writelines(
                difflib.unified_diff(before.splitlines(True), after.splitlines(True), str(path), "now", n=6)
            )
        if "--rewrite" in arguments:
            path.write_text(after, encoding="utf-8")
    return 0 if "--rewrite" in arguments else differs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
