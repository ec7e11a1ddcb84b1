"""Stories of sharing: the commands of the story files that share out energy, storage fees and credit.

They use the product's own functions only; `tests.market.stories` plays them.
"""

from meshnode.amounts import AmountError, format_money, parse_energy, parse_money, parse_price
from meshnode.ledger.capacity import room_wh
from meshnode.local_time import by_day, date_of, local_month, spelled
from meshnode.settlement.compensation import Hour, Point, compensate, divide_incentive, shared_hours
from meshnode.settlement.credit import Standing, charge, close, levy, receive, solidarity
from meshnode.settlement.sharing import SharingError, Weighing, allocate, allocate_by_source
from meshnode.settlement.sharing_modes import MODES
from meshnode.settlement.storage import StorageFee, charge_storage, most_stored_wh

Lines = list[str]


def named(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def name_of(account: bytes) -> str:
    return account.rstrip(b"\0").decode()


def pairs(line: str) -> tuple[str, dict[str, str]]:
    """A line's first word, and the words after it two by two."""
    name, *words = line.split()
    return name, dict(zip(words[::2], words[1::2], strict=True))


def ppm(percent: str) -> int:
    """`12.5%` in ppm, without a float."""
    whole, _, fraction = percent.removesuffix("%").partition(".")
    return int(whole + fraction.ljust(4, "0"))


def u(amount: str) -> int:
    return parse_money(f"{amount} EUR", "EUR")


def u_kwh(price: str) -> int:
    return parse_price(f"{price} EUR/kWh", "EUR")


def money(amount_u: int) -> str:
    return format_money(amount_u, "EUR")


def run_share(arguments: Lines, lines: Lines) -> Lines:
    """share MODE: lines `NAME [use N] [makes N] [share P% | rank N]`, `SOURCE for NAME share P%`."""
    rule = MODES[arguments[0]].rule
    consumed, generated, weights = {}, {}, {}
    by_source: dict[bytes, dict[bytes, int]] = {}
    for line in lines:
        name, given = pairs(line)
        if "for" in given:
            by_source.setdefault(named(name), {})[named(given["for"])] = ppm(given["share"])
            continue
        if "use" in given:
            consumed[named(name)] = int(given["use"])
        if "makes" in given:
            generated[named(name)] = int(given["makes"])
        if "share" in given:
            weights[named(name)] = ppm(given["share"])
        if "rank" in given:
            weights[named(name)] = int(given["rank"])
    try:
        if rule.by_source:
            found = allocate_by_source(consumed, generated, by_source)
        else:
            found = allocate(rule, consumed, generated, weights)
    except SharingError as error:
        return [readable(fault, (*consumed, *generated, *weights)) for fault in error.faults]
    told = []
    for one, use_wh in sorted(consumed.items()):
        shared_wh = found.taken_wh[one]
        surplus = f", surplus {found.surplus_wh[one]}" if rule.own_surplus and one in found.surplus_wh else ""
        told.append(f"{name_of(one)}: {shared_wh} shared + {use_wh - shared_wh} grid = {use_wh} Wh{surplus}")
    for one, made_wh in sorted(generated.items()):
        rest = "" if rule.own_surplus else f" + {found.surplus_wh[one]} surplus"
        told.append(f"{name_of(one)} gives {found.given_wh[one]}{rest} of {made_wh} Wh")
    shared_wh, surplus_wh = sum(found.taken_wh.values()), sum(found.surplus_wh.values())
    told.append(f"together {shared_wh} shared + {surplus_wh} surplus = {sum(generated.values())} Wh")
    assert shared_wh + surplus_wh == sum(generated.values()) and shared_wh == sum(found.given_wh.values())
    return told


def readable(fault: str, accounts: tuple[bytes, ...]) -> str:
    for account in accounts:
        fault = fault.replace(account.hex(), name_of(account))
    return fault


def run_modes(arguments: Lines, lines: Lines) -> Lines:
    """modes: every name, where it is in use, its rounds and weights."""
    return [
        f"{mode.name}: {mode.place or 'anywhere'}, {' then '.join(key.value for key in mode.rule.rounds)}"
        f"{'' if mode.rule.weighing is Weighing.NONE else ', ' + mode.rule.weighing.value}"
        f"{'' if not mode.rule.by_source else ', for each source'}"
        for mode in MODES.values()
    ]


def run_compensate(arguments: Lines, lines: Lines) -> Lines:
    """compensate: one member's hours, `hour N bought WH at P surplus WH worth P`."""
    hours = []
    for line in lines:
        _, _, _, bought, _, bought_at, _, surplus, _, surplus_at = line.split()
        hours.append(Hour(int(bought), int(surplus), u_kwh(bought_at), u_kwh(surplus_at)))
    found = compensate(hours)
    assert found.compensated_u + found.lost_u == found.surplus_u and found.due_u >= 0
    return [
        f"bought {found.bought_wh} Wh for {money(found.bought_u)}",
        f"surplus {found.surplus_wh} Wh worth {money(found.surplus_u)}: "
        f"{money(found.compensated_u)} compensated, {money(found.lost_u)} lost",
        f"due {money(found.due_u)}",
    ]


def run_incentive(arguments: Lines, lines: Lines) -> Lines:
    """incentive P: lines `at SECOND NAME behind SUBSTATION in WH out WH`; in is injected, out withdrawn."""
    points = []
    for line in lines:
        _, second, name, _, substation, _, injected, _, withdrawn = line.split()
        points.append(Point(int(second), named(name), substation, int(injected), int(withdrawn)))
    hours = shared_hours(points, u_kwh(arguments[0]))
    told = [
        f"{spelled((), hour.start_s)} {hour.substation}: min({hour.injected_wh}, {hour.withdrawn_wh}) = "
        f"{hour.shared_wh} Wh, {money(hour.incentive_u)}"
        for hour in hours
    ]
    return [*told, f"together {money(sum(hour.incentive_u for hour in hours))}"]


def run_divide(arguments: Lines, lines: Lines) -> Lines:
    """divide AMOUNT: lines `PART P%`, and `NAME of PART WEIGHT` for its members."""
    parts, groups = {}, {}
    for line in lines:
        words = line.split()
        if words[1] == "of":
            groups.setdefault(named(words[2]), {})[named(words[0])] = int(words[3])
        else:
            parts[named(words[0])] = ppm(words[1])
    try:
        found = divide_incentive(u(arguments[0]), parts, groups)
    except SharingError as error:
        return list(error.faults)
    return [f"{name_of(one)} {money(amount_u)}" for one, amount_u in found.items()]


def run_bmax(arguments: Lines, lines: Lines) -> Lines:
    """bmax: lines `cost AMOUNT price AMOUNT [stored WH]`, the price for a kWh of storage."""
    told = []
    for line in lines:
        try:
            _, cost, _, price, *stored = line.split()
            most_wh = most_stored_wh(u(cost), u_kwh(price))
        except AmountError as error:
            told.append(str(error))
            continue
        room = f", room for {room_wh(most_wh, parse_energy(f'{stored[1]} Wh'))} Wh" if stored else ""
        told.append(f"{most_wh} Wh{room}")
    return told


def run_storage(arguments: Lines, lines: Lines) -> Lines:
    """storage fee=PRICE: `to NAME P%`, `owner NAME N`, `NAME stores WH has AMOUNT [limit AMOUNT]`."""
    shares, owners, stored = [], {}, []
    for line in lines:
        words = line.split()
        if words[0] == "to":
            shares.append((named(words[1]), ppm(words[2])))
        elif words[0] == "owner":
            owners[named(words[1])] = int(words[2])
        else:
            limit_u = u(words[6]) if len(words) > 5 else 0
            stored.append((named(words[0]), int(words[2]), Standing(u(words[4]), limit_u)))
    fee = StorageFee(u_kwh(arguments[0].removeprefix("fee=")), tuple(shares), named("owners"))
    found = charge_storage(fee, stored, owners)
    told = [
        f"{name_of(one.account)} due {money(one.due_u)}: paid {money(one.paid_u)}, arrears {money(one.arrears_u)}, "
        f"left {money(one.after.balance_u)}"
        for one in found.charged
    ]
    assert sum(found.received_u.values()) == sum(one.paid_u for one in found.charged)
    return [*told, *(f"{name_of(one)} receives {money(amount_u)}" for one, amount_u in found.received_u.items())]


def run_standing(arguments: Lines, lines: Lines) -> Lines:
    """standing has=A limit=A deposit=A: lines `charge A`, `receive A`, `leave`."""
    given = dict(argument.split("=") for argument in arguments)
    standing = Standing(u(given["has"]), u(given.get("limit", "0")), u(given.get("deposit", "0")))
    told = []
    for line in lines:
        verb, *amount = line.split()
        if verb == "leave":
            end = close(standing)
            told.append(f"paid {money(end.paid_u)}, back {money(end.refund_u)}, open {money(end.open_u)}")
            continue
        standing, part_u = (charge if verb == "charge" else receive)(standing, u(amount[0]))
        what = "paid" if verb == "charge" else "of it for arrears"
        told.append(
            f"{what} {money(part_u)}; has {money(standing.balance_u)}, arrears {money(standing.arrears_u)}, "
            f"may spend {money(standing.spendable_u)}"
        )
    return told


def run_levy(arguments: Lines, lines: Lines) -> Lines:
    """levy P: lines `NAME WH`."""
    energies = {named(name): int(wh) for name, wh in (line.split() for line in lines)}
    return [f"{name_of(one)} {money(amount_u)}" for one, amount_u in levy(energies, u_kwh(arguments[0])).items()]


def run_solidarity(arguments: Lines, lines: Lines) -> Lines:
    """solidarity P%: lines `NAME earns AMOUNT`, `NAME helped WEIGHT`."""
    incomes, helped = {}, {}
    for line in lines:
        name, verb, number = line.split()
        if verb == "earns":
            incomes[named(name)] = u(number)
        else:
            helped[named(name)] = int(number)
    given, received = solidarity(incomes, ppm(arguments[0]), helped)
    assert sum(given.values()) == sum(received.values())
    return [
        *(f"{name_of(one)} gives {money(amount_u)}" for one, amount_u in given.items()),
        *(f"{name_of(one)} receives {money(amount_u)}" for one, amount_u in received.items()),
    ]


def run_days(arguments: Lines, lines: Lines) -> Lines:
    """days from=S to=S every=S: the zone as lines `from SECOND ahead SECONDS`; local days, their periods."""
    given = {key: int(number) for key, number in (argument.split("=") for argument in arguments)}
    zone = [(int(line.split()[1]), int(line.split()[3])) for line in lines]
    told = []
    for day, starts in by_day(zone, range(given["from"], given["to"], given["every"])).items():
        year, month, number = date_of(day)
        assert (year, month) == local_month(zone, starts[0])
        told.append(
            f"{year:04}-{month:02}-{number:02}: {len(starts)} periods, {spelled(zone, starts[0])} to "
            f"{spelled(zone, starts[-1])}"
        )
    return told


COMMANDS = {
    "share": run_share,
    "modes": run_modes,
    "compensate": run_compensate,
    "incentive": run_incentive,
    "divide": run_divide,
    "bmax": run_bmax,
    "storage": run_storage,
    "standing": run_standing,
    "levy": run_levy,
    "solidarity": run_solidarity,
    "days": run_days,
}
