"""Market commands: a table of orders through every mechanism, and what is wrong with a table."""

from pathlib import Path

import pytest

from meshnode.cli.order_files import MISTAKES_SHOWN
from meshnode.market.registry import BUILTIN
from tests.cli.shell import meshnode, spawn

HEAD = "side,member,price_per_kwh,wh,time_in_force,backed"
VILLAGE = f"""{HEAD}
buy,anna,0.30,1000,,
buy,bela,0.25,2000,gtc,yes
buy,cora,0.22,1000,,
buy,dino,0.18,3000,,

sell,roof,0.10,1500,,
sell,barn,0.15,2000,,yes
sell,sol,0.20,2000,,2000
sell,wind,0.26,1000,,
"""
RATE = ("--grid-price", "0.32", "--feed-in-price", "0.08")


@pytest.fixture
def orders(tmp_path: Path):
    """`orders(text)` is a file with this text."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "orders.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def clear(path: Path, mechanism: str, *more: str):
    return meshnode("market", "clear", "--mechanism", mechanism, path, *more)


def test_pay_as_clear_finds_the_price_of_the_village(orders) -> None:
    done = clear(orders(VILLAGE), "pay-as-clear", "--json")
    assert done.code == 0
    found = done.json
    assert (found["mechanism"], found["version"], found["wh"], found["amount_u"]) == ("pay-as-clear", 1, 4000, 800_000)
    assert found["prices"]["price_u_kwh"] == 200_000
    assert found["welfare_u"] == {"buyers": 220_000, "sellers": 250_000, "together": 470_000}
    assert found["trades"][0] == {
        "buyer": "anna",
        "seller": "roof",
        "buy_line": 2,
        "sell_line": 7,
        "wh": 1000,
        "price_u_kwh": 200_000,
        "amount_u": 200_000,
    }
    sol = next(order for order in found["orders"] if order["member"] == "sol")
    assert sol == {
        "line": 9,
        "member": "sol",
        "side": "sell",
        "wh": 2000,
        "traded_wh": 500,
        "own_wh": 0,
        "end": "unfilled",
    }


@pytest.mark.parametrize("mechanism", BUILTIN)
def test_every_mechanism_runs_the_same_file_and_the_sums_add_up(mechanism: str, orders) -> None:
    done = clear(orders(VILLAGE), mechanism, "--json", *RATE)
    assert done.code == 0
    found = done.json
    assert found["trades"]
    assert sum(trade["wh"] for trade in found["trades"]) == found["wh"]
    assert sum(order["traded_wh"] for order in found["orders"]) == 2 * found["wh"]
    assert sum(trade["amount_u"] for trade in found["trades"]) == found["amount_u"]
    assert found["welfare_u"]["together"] == found["welfare_u"]["buyers"] + found["welfare_u"]["sellers"]
    assert {order["line"] for order in found["orders"]} == {2, 3, 4, 5, 7, 8, 9, 10}


def test_people_read_a_table(orders) -> None:
    done = clear(orders(VILLAGE), "pay-as-bid")
    assert done.code == 0
    assert done.out.splitlines()[:2] == [
        "buyer  seller  energy   price",
        "anna   roof    1000 Wh  0.30 EUR/kWh",
    ]
    assert "pay-as-bid 1: 5 trades, 4 kWh, 1.02 EUR" in done.out
    assert "price    0.22 EUR/kWh to 0.30 EUR/kWh" in done.out
    assert "welfare  0.47 EUR: buyers gain 0.00 EUR, sellers 0.47 EUR" in done.out
    assert "line 9, sol: unfilled, 1500 Wh open" in done.out


def test_the_continuous_book_knows_time_in_force_and_backing(orders) -> None:
    text = (
        f"{HEAD}\nsell,dora,0.08,100,gtc,no\nsell,emil,0.09,100,,60\nbuy,anna,0.10,100,fok,yes\n"
        "buy,bela,0.10,100,ioc,yes\nbuy,cora,0.05,100,market,yes\nbuy,dora,0.10,10,,\n"
    )
    found = clear(orders(text), "continuous", "--json").json
    assert [(trade["buyer"], trade["seller"], trade["wh"]) for trade in found["trades"]] == [("bela", "emil", 60)]
    ends = {order["line"]: (order["traded_wh"], order["end"]) for order in found["orders"]}
    assert ends == {
        2: (0, "rests"),
        3: (60, "rests"),
        4: (0, "killed"),
        5: (60, "unfilled"),
        6: (0, "unfilled"),
        7: (0, "rests"),
    }
    assert found["prices"]["buying_u_kwh"] == 80_000
    assert found["prices"]["buying_now_u_kwh"] is None


def test_an_own_order_is_told_of(orders) -> None:
    done = clear(orders(f"{HEAD}\nbuy,anna,0.30,100,,\nsell,anna,0.10,40,,no\n"), "pay-as-clear")
    assert "pay-as-clear 1: 0 trades, 0 Wh, 0.00 EUR" in done.out
    assert "line 3, anna: filled, 0 Wh open, 40 Wh met an own order" in done.out
    assert done.err == "pay-as-clear settles against the meters, so it does not ask what is backed\n"


def test_semicolons_another_order_of_columns_and_stdin(orders) -> None:
    text = "wh;side;member;price_per_kwh\r\n10;sell;Dora;0.1\r\n10;buy;Anna;0.1\r\n"
    done = spawn("market", "clear", "--mechanism", "continuous", "-", "--json", stdin=b"\xef\xbb\xbf" + text.encode())
    assert done.code == 0
    assert done.json["wh"] == 10


def test_all_mistakes_of_a_file_are_named_at_once(orders) -> None:
    path = orders(
        f'{HEAD}\nbuy,anna,0.30,1000\nbid,,0.30,1.5,day,maybe\nbuy,bela,"0,24",10,,11\nsell,dora,0.1,1000000001,,\n'
    )
    done = clear(path, "continuous")
    assert done.code == 2
    assert done.out == ""
    assert done.err.removeprefix("error: ").splitlines() == [
        f"{path}:2: found 4 cells, expected 6, one for each column",
        f"{path}:3: side: found 'bid', expected buy or sell",
        f"{path}:3: member: found a name of 0 characters, expected 1 to 64",
        f"{path}:3: wh: found '1.5', expected a whole number from 1 to 1000000000",
        f"{path}:3: time_in_force: found 'day', expected gtc, ioc, fok, market, or nothing for gtc",
        f"{path}:3: backed: found 'maybe', expected yes, no, or how many Wh of it are",
        f"{path}:4: price_per_kwh: «0,24 EUR/kWh»: a comma may mean two things here, expected a decimal point; "
        "write it like 0.32 EUR/kWh",
        f"{path}:4: backed: found '11', expected yes, no, or how many Wh of it are",
        f"{path}:5: wh: found '1000000001', expected a whole number from 1 to 1000000000",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line, expected one with the columns' names"),
        ("side,member,price\n", "no column price_per_kwh; no column wh; an unknown column 'price'"),
        ("side,side,member,price_per_kwh,wh\n", ":1: two columns side"),
        (f'{HEAD}\n"buy,anna,1,1,,\n', "unexpected end of data"),
        (b"side\nb\xfcy\n", ":2: byte 0xfc is not UTF-8"),
        (f"{HEAD}\n" + "buy,anna,1,1,,\n" * 8_193, "8193 orders, the limit is 8192"),
    ],
)
def test_what_is_no_table_of_orders_is_refused(text: str | bytes, message: str, orders) -> None:
    done = clear(orders(text), "continuous")
    assert done.code == 2
    assert message in done.err


def test_thousands_of_mistakes_do_not_fill_the_screen(orders) -> None:
    done = clear(orders(f"{HEAD}\n" + "buy,anna\n" * 1_000), "continuous")
    assert done.code == 2
    assert len(done.err.splitlines()) == MISTAKES_SHOWN + 1
    assert "and 950 more mistakes" in done.err


def test_what_a_mechanism_cannot_do_is_said(orders) -> None:
    path = orders(f"{HEAD}\nbuy,anna,0.30,10,fok,\n")
    assert (
        f"{path}:2: time_in_force: found fok; pay-as-clear clears all orders at once" in clear(path, "pay-as-clear").err
    )
    assert (
        "mechanism lottery version 1 is not installed on this node; it has: continuous 1" in clear(path, "lottery").err
    )
    assert "mechanism continuous version 9 is not installed" in clear(path, "continuous", "--version", "9").err
    done = clear(path, "mid-market-rate", "--grid-price", "0.32")
    assert (done.code, done.err.splitlines()[0]) == (
        2,
        "error: --feed-in-price: not given; the rate of mid-market-rate is the middle of both",
    )
    assert "--grid-price: «dear EUR/kWh»" in clear(path, "continuous", "--grid-price", "dear").err


def test_the_mechanisms_are_listed() -> None:
    done = meshnode("market", "list", "--json")
    assert {one["name"] for one in done.json} >= set(BUILTIN)
    assert "continuous 1\n" in meshnode("market", "list").out
