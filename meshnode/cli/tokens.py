"""Tokens: `meshnode asset`, `transfer` and `exchange` - what the community's tokens are, and passing them on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from meshnode.cli.output import No, answer, table
from meshnode.cli.parser import Argument, Group, Option
from meshnode.cli.place import Where, spelled_again
from meshnode.cli.trading import Acting, Asking

asset = Group("Assets: tokens of the community.")
transfer = Group("Transfers: send tokens to another member, and what came and went.", default="send", alone=True)
exchange = Group("Exchanges: one token for another between two members, both at once or neither.")

# Three days: over a weekend.
HOURS = 72
# Two years, as the ledger has it.
MAX_HOURS = 2 * 366 * 24
HOUR_S = 3600

OFFER = ("an offer's id", "meshnode exchange list")

Code = Annotated[str, Argument("CODE", "The asset's code.")]
Asset = Annotated[str, Option("--asset", "The asset's code.")]
Amount = Annotated[int, Option("--amount", "In the asset's smallest unit.", low=1)]
To = Annotated[str, Option("--to", "The receiver's name, or account id.")]
Hours = Annotated[int, Option("--for", "How long it stands; then it goes back to you.", "HOURS", low=1, high=MAX_HOURS)]


def add_to(app: Group) -> None:
    """Add the commands to the command line."""
    app.add("transfer", transfer)
    app.add("asset", asset)
    app.add("exchange", exchange)


@asset.command("list")
def list_assets(*, how: Asking) -> None:
    """List the community's assets, and what you have of each. Exit 3 if no majority confirms a fresh answer."""
    found = _assets(how)
    answer({"assets": found}, lambda: _as_table(found), how.json)


@asset.command()
def show(code: Code, *, how: Asking) -> None:
    """Say everything about one asset. Exit 1 if there is none with that code."""
    found = {one["asset"]: one for one in _assets(how)}
    if code not in found:
        raise No(f"there is no asset {code}\n    see: meshnode asset list")
    one = found[code]
    answer(one, lambda: table([(name, str(value)) for name, value in _in_words(one)]), how.json)


@asset.command()
def issue(
    code: Code,
    cap: Annotated[int, Option("--cap", "The most that may ever exist.", low=1)],
    amount: Annotated[int, Option("--amount", "How much is minted now, to you.", low=0)] = 0,
    kind: Annotated[str, Option("--kind", "money, energy or utility.")] = "utility",
    once: Annotated[bool, Option("--once", "What is minted now is all that will ever be.")] = False,
    measure: Annotated[str, Option("--measure", "Meters mint it, from their import, export or produced energy.")] = "",
    unit_wh: Annotated[int, Option("--unit-wh", "So many Wh are one unit, where meters mint.", low=0)] = 0,
    settles: Annotated[bool, Option("--settles", "Closed periods are paid with it, one unit a micro-unit.")] = False,
    cashier: Annotated[str, Option("--cashier", "Who issues and destroys it against money outside.")] = "",
    issuer_burns: Annotated[bool, Option("--only-issuer-burns", "Nobody else may destroy any.")] = False,
    *,
    how: Acting,
) -> int:
    """Create an asset, mint more of one of yours, or name its cashier. Exit 1 if the community refuses it, 3 if that is
    not known yet.
    """
    body: dict[str, Any] = {"asset": code, "kind": kind, "cap": cap, "amount": amount}
    policy = "once" if once else "meter" if measure else ""
    wishes = {
        "policy": policy,
        "measure": measure,
        "unit_wh": unit_wh,
        "settles": int(settles),
        "cashier": cashier,
        "burning": "issuer" if issuer_burns else "",
    }
    body |= {name: value for name, value in wishes.items() if value}
    what = f"{amount} {code} minted" if amount else f"{code} is as you said"
    return how.act("/api/assets", body, what)


@asset.command()
def burn(code: Code, amount: Amount, *, how: Acting) -> int:
    """Destroy an amount of your own. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {"asset": code, "amount": amount}
    return how.act("/api/burns", body, f"{amount} {code} destroyed")


@transfer.command()
def send(
    to: To,
    code: Asset,
    amount: Amount,
    memo: Annotated[str, Option("--memo", "A line that only the receiver and you can read.")] = "",
    *,
    how: Acting,
) -> int:
    """Send an amount of an asset to another member. Exit 1 if the community refuses it, 3 if that is not known yet."""
    body = {"to": to, "asset": code, "amount": amount} | ({"memo": memo} if memo else {})
    what = f"{amount} {code} to {to}" + (", with a memo" if memo else "")
    return how.act("/api/transfers", body, what)


@transfer.command("list")
def list_transfers(code: Annotated[str, Option("--asset", "Only this asset.")] = "", *, how: Asking) -> None:
    """List what came and went, the newest first, with your memos. Exit 3 if no majority confirms a fresh answer."""
    # Memos are read to nobody but who may act for the member.
    found = how.ask("/api/movements", asset=code or None, write=True)
    answer(found, lambda: _moved(found["movements"]), how.json)


@exchange.command()
def offer(
    give: Annotated[str, Option("--give", "Code of the asset that you give.")],
    give_amount: Annotated[int, Option("--give-amount", "How much of it; held from now on.", low=1)],
    want: Annotated[str, Option("--want", "Code of the asset that you want.")],
    want_amount: Annotated[int, Option("--want-amount", "How much of it.", low=1)],
    to: Annotated[str, Option("--to", "Who alone may accept; everybody, if left out.")] = "",
    hours: Hours = HOURS,
    *,
    how: Acting,
) -> int:
    """Offer one asset for another. Exit 1 if the community refuses it, 3 if that is not known yet."""
    place = how.place
    body: dict[str, Any] = {"give": give, "give_amount": give_amount, "want": want, "want_amount": want_amount}
    body |= {"for_s": hours * HOUR_S} | ({"to": to} if to else {})
    where = spelled_again(place, how.chain)
    what = (
        f"{give_amount} {give} held for {want_amount} {want}\n"
        "    who accepts says: meshnode exchange accept ID\n"
        f"    take it back with: meshnode exchange withdraw ID{where}"
    )
    return how.act("/api/exchanges", body, what)


@exchange.command()
def accept(offer_id: Annotated[str, Argument("ID", "The offer's record id.")], *, how: Acting) -> int:
    """Accept an offer: both amounts change hands, or none. Exit 1 if the community refuses it, 3 if not known yet."""
    return how.step("/api/exchanges/ID/accept", offer_id, "both amounts have changed hands", *OFFER)


@exchange.command()
def withdraw(offer_id: Annotated[str, Argument("ID", "The offer's record id.")], *, how: Acting) -> int:
    """Take back your offer, or decline one to you alone. Exit 1 if there is none, 3 if that is not known yet."""
    return how.step("/api/exchanges/ID/withdraw", offer_id, "what was held is its owner's again", *OFFER)


@exchange.command("list")
def list_exchanges(*, how: Asking) -> None:
    """List the open offers. Exit 3 if no majority confirms a fresh answer."""
    found = how.ask("/api/exchanges")
    answer(found, lambda: _offered(found["exchanges"]), how.json)


def when(time_s: int) -> str:
    """A time as tables show it, by this computer's zone."""
    return datetime.fromtimestamp(time_s).strftime("%Y-%m-%d %H:%M")


def _assets(how: Asking) -> list[dict[str, Any]]:
    """The assets, each with what this member has of it."""

    found = how.ask("/api/assets")["assets"]
    mine = {row["asset"]: row for row in Where(how.directory, how.chain).ask("/api/balances")["balances"]}
    return [one | {name: mine.get(one["asset"], {}).get(name, 0) for name in ("free", "held")} for one in found]


def _as_table(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no assets"
    columns = ("asset", "kind", "supply", "cap", "free", "held")
    head = ("asset", "kind", "there are", "at most", "you have", "of it held")
    lines = [(*(str(one[name]) for name in columns), _minting(one)) for one in found]
    return table(lines, (*head, "minted by"))


def _minting(one: dict[str, Any]) -> str:
    if one["policy"] == "meter":
        return f"meters: 1 for {one['unit_wh']} Wh of {one['measure']}"
    return f"{one['issuer']}, once" if one["policy"] == "once" else str(one["issuer"])


def _in_words(one: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        ("asset", one["asset"]),
        ("kind", one["kind"]),
        ("there are", f"{one['supply']} of at most {one['cap']}"),
        ("minted by", _minting(one)),
        ("destroyed by", "its owners" if one["burning"] == "owner" else one["issuer"]),
        *([("cashier", one["cashier"])] if one["cashier"] else []),
        *([("settles", "closed periods are paid with it")] if one["settles"] else []),
        ("you have", f"{one['free']}, and {one['held']} held"),
    ]


def _moved(found: list[dict[str, Any]]) -> str:
    if not found:
        return "nothing came or went"
    lines = [
        (
            when(one["time_s"]),
            one["what"].replace("_", " "),
            one["giver_name"] or "-",
            one["taker_name"] or "-",
            f"{one['amount']} {one['asset']}",
            one["memo"] or one["reference"] or ("(a memo for others)" if one["has_memo"] else ""),
        )
        for one in found
    ]
    return table(lines, ("time", "what", "from", "to", "amount", "memo or reference"))


def _offered(found: list[dict[str, Any]]) -> str:
    if not found:
        return "no open offers"
    lines = [
        (
            one["owner"],
            f"{one['amount']} {one['asset']}",
            f"{one['want_amount']} {one['want']}",
            one["to"] or "everybody",
            when(one["until_s"]),
            one["id"],
        )
        for one in found
    ]
    return table(lines, ("from", "gives", "wants", "may accept", "until", "id"))
