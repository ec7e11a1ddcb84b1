"""Amounts: the splitter loses nothing, written amounts come back, what does not fit is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.amounts import (
    ENERGY_MAX_WH,
    INT64_MAX,
    INT64_MIN,
    PRICE_MAX_U_KWH,
    AmountError,
    Overflow,
    format_energy,
    format_money,
    format_price,
    parse_energy,
    parse_money,
    parse_price,
    split,
    value,
)
from tests.market.strategies import EXAMPLES

weights = st.dictionaries(st.binary(min_size=1, max_size=3), st.integers(0, 10**6), max_size=8)


@EXAMPLES
@given(st.integers(-(10**9), 10**9), weights)
def test_the_parts_add_up_and_each_is_within_one_of_its_share(total: int, by_id: dict[bytes, int]) -> None:
    whole = sum(by_id.values())
    if total and not whole:
        with pytest.raises(AmountError):
            split(total, by_id.items())
        return
    parts = split(total, by_id.items())
    assert sum(parts.values()) == total
    assert list(parts) == sorted(by_id)
    for key, part in parts.items():
        assert abs(part * whole - total * by_id[key]) < max(whole, 1)
        if abs(total) <= whole:
            assert abs(part) <= by_id[key]


@EXAMPLES
@given(st.integers(-1000, 1000), weights, st.randoms(use_true_random=False))
def test_the_order_of_weights_does_not_matter(total: int, by_id: dict[bytes, int], random) -> None:
    entries = [*by_id.items(), (b"last", 1)]
    shuffled = list(entries)
    random.shuffle(shuffled)
    assert split(total, shuffled) == split(total, entries)
    assert split(-total, entries) == {key: -part for key, part in split(total, entries).items()}


@EXAMPLES
@given(st.integers(INT64_MIN, INT64_MAX))
def test_written_money_reads_back(amount_u: int) -> None:
    assert parse_money(format_money(amount_u, "EUR"), "EUR") == amount_u


@EXAMPLES
@given(st.integers(-PRICE_MAX_U_KWH, PRICE_MAX_U_KWH), st.integers(0, ENERGY_MAX_WH))
def test_written_prices_and_energy_read_back(price_u_kwh: int, energy_wh: int) -> None:
    assert parse_price(format_price(price_u_kwh, "EUR"), "EUR") == price_u_kwh
    assert parse_energy(format_energy(energy_wh)) == energy_wh


@EXAMPLES
@given(st.text(max_size=80))
def test_any_other_text_is_an_amount_error(text: str) -> None:
    for reader in (
        parse_energy,
        lambda text: parse_price(text, "EUR"),
        lambda text: parse_money(text, "EUR"),
    ):
        try:
            assert isinstance(reader(text), int)
        except AmountError as error:
            assert str(error)


def test_digits_of_other_scripts_are_not_digits() -> None:
    for text in ("٣ kWh", "² kWh", "1٣ kWh"):
        with pytest.raises(AmountError):
            parse_energy(text)


def test_what_does_not_fit_into_64_bits_is_refused() -> None:
    assert value(PRICE_MAX_U_KWH, ENERGY_MAX_WH) == 10**15
    with pytest.raises(Overflow, match="value 18446744073709551616 does not fit into 64 bits"):
        value(2**32 * 1000, 2**32)
    with pytest.raises(Overflow):
        split(INT64_MAX + 1, [(b"a", 1)])
    with pytest.raises(Overflow):
        split(1, [(b"a", INT64_MAX), (b"b", 1)])
    with pytest.raises(AmountError, match="energy of -1 Wh"):
        value(1, -1)
