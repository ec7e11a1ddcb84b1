"""State: one hash for one content, however it came about."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.keys import verify
from meshnode.ledger import rows, tables, tree
from meshnode.ledger.state import State
from meshnode.machine import Machine
from protocols import cbor, merkle
from tests.ledger.chain import a_busy_morning
from tests.ledger.naive_hash import naive_hash

Balances = dict[tuple[bytes, str], tuple[int, int]]

balances = st.dictionaries(
    st.tuples(st.binary(min_size=1, max_size=3), st.sampled_from(["SUN", "MOON"])),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    max_size=12,
)


def state_of(content: Balances) -> State:
    state = State()
    for key, row in content.items():
        state.balances.put(key, rows.Balance(*row))
    return state


@given(balances, st.randoms(use_true_random=False), balances)
@settings(max_examples=100, derandomize=True)
def test_the_hash_depends_on_the_content_alone(content: Balances, chance: object, detour: Balances) -> None:
    """Another order, rows written twice, rows that came and went, hashes taken on the way: the same hash."""
    expected = state_of(content).state_hash()
    other = State()
    shuffled = sorted(content)
    chance.shuffle(shuffled)
    for key, row in detour.items():
        other.balances.put(key, rows.Balance(*row))
        other.state_hash()
        list(other.balances.items())
    for key in detour:
        if key not in content:
            other.balances.delete(key)
    for key in shuffled:
        other.balances.put(key, rows.Balance(*content[key]))
    assert other.state_hash() == expected
    assert [key for key, _ in other.balances.items()] == sorted(content)


@given(balances, balances)
@settings(max_examples=100, derandomize=True)
def test_another_content_has_another_hash(one: Balances, other: Balances) -> None:
    assert (state_of(one).state_hash() == state_of(other).state_hash()) == (one == other)


@given(balances)
@settings(max_examples=50, derandomize=True)
def test_a_snapshot_brings_back_the_same_state(content: Balances) -> None:
    state = state_of(content)
    restored = State.restore(cbor.decode(cbor.encode(state.dump())))
    assert restored.state_hash() == state.state_hash()
    assert restored.dump() == state.dump()


def test_one_content_in_two_tables_is_not_the_same() -> None:
    metered, claims = State(), State()
    metered.claims.put(b"x", rows.Claim(1))
    claims.names.put("x", rows.NameOf(b"x"))
    assert metered.state_hash() != claims.state_hash() != State().state_hash()


def test_the_hash_can_be_computed_by_hand() -> None:
    """As the modules say it: a leaf for each row, its table's bucket, and the tables by number."""
    state = state_of({(b"a", "SUN"): (1, 2), (b"b", "SUN"): (3, 4)})
    state.metered.put((900, b"b"), rows.PeriodEnergy(1, 2, -1, 3))
    state.metered.put((900, b"a"), rows.PeriodEnergy(5, 6, -1, 3))
    balances = {
        sha256(cbor.encode([account, "SUN"])): sha256(b"\x00" + cbor.encode([8, [account, "SUN"], row]))
        for account, row in ((b"a", [1, 2]), (b"b", [3, 4]))
    }
    energies = [
        sha256(b"\x00" + cbor.encode([12, [900, account], row]))
        for account, row in ((b"a", [5, 6, -1, 3]), (b"b", [1, 2, -1, 3]))
    ]
    hashes: list[cbor.Value] = [
        [8, sha256(b"\x02" + b"".join(balances[name] for name in sorted(balances)))],
        [12, sha256(b"\x02" + sha256(b"\x04" + b"".join(energies)))],
    ]
    assert state.state_hash() == sha256(b"\x05" + cbor.encode(hashes)) == naive_hash(state)


def sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_an_empty_state_has_a_hash() -> None:
    state = State()
    assert state.state_hash() == sha256(b"\x05" + cbor.encode([])) == naive_hash(state)
    # A row that came and went leaves nothing behind.
    state.claims.put(b"x", rows.Claim(1))
    state.state_hash()
    state.claims.delete(b"x")
    assert state.state_hash() == naive_hash(State())


changes = st.lists(
    st.tuples(
        # Enough accounts for branches above the buckets, few enough that rows are written again.
        st.integers(0, 150),
        st.integers(0, 8).map(lambda number: 900 * number),
        st.integers(-2, 9),
        st.booleans(),
    ),
    max_size=400,
)


@given(changes)
@settings(max_examples=40, derandomize=True, deadline=None)
def test_the_hash_that_is_kept_is_that_of_all_rows(changes: list[tuple[int, int, int, bool]]) -> None:
    """Rows of every shape of key written and removed in any order: as if all were hashed at once."""
    state = State()
    for number, start_s, amount, asked in changes:
        account = number.to_bytes(2, "big") * 8
        written: tuple[tuple[Any, Any, Any], ...] = (
            (state.claims, account, rows.Claim(amount)),
            (state.registers, (account, start_s), rows.Registers(amount, 0, -1, 0, 3, account)),
            (state.metered, (start_s, account), rows.PeriodEnergy(amount, 0, -1, 3)),
            (state.pairs, (start_s, account, number % 3), rows.Pair(account, amount, 0, 0, 0, 0)),
        )
        for table, key, row in written:
            if amount >= 0:
                table.put(key, row)
            elif key in table:
                table.delete(key)
        if asked:
            state.state_hash()
    assert state.state_hash() == naive_hash(state)
    assert State.restore(cbor.decode(cbor.encode(state.dump()))).state_hash() == state.state_hash()


def test_the_hash_of_many_rows_is_kept_while_they_come_and_go() -> None:
    """Thousands of rows, so that branches stand on branches; and down to none again."""
    state, random = State(), Random(3)
    names = [random.randbytes(16) for _ in range(3000)]
    for number, name in enumerate(names):
        state.claims.put(name, rows.Claim(number + 1))
        if number % 500 == 0:
            assert state.state_hash() == naive_hash(state)
    assert state.state_hash() == naive_hash(state)
    random.shuffle(names)
    for number, name in enumerate(names):
        state.claims.delete(name)
        if number % 250 == 0 or number > 2990:
            assert state.state_hash() == naive_hash(state)
    assert state.state_hash() == naive_hash(State())


def test_a_period_costs_the_same_after_a_year_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in bytes that are hashed, not in seconds: a hundred periods back, or thirty thousand."""
    state, homes = State(), [number.to_bytes(16, "big") for number in range(20)]
    hashed = 0

    class Counting:
        @staticmethod
        def sha256(content: bytes) -> Any:
            nonlocal hashed
            hashed += len(content)
            return hashlib.sha256(content)

    for module in (tables, tree, merkle):
        monkeypatch.setattr(module, "hashlib", Counting)

    def settle(period: int) -> int:
        """Write what a period writes; how many bytes the state hash took."""
        nonlocal hashed
        for home in homes:
            state.registers.put((home, 900 * period), rows.Registers(period, 0, -1, 0, 3, home))
            state.metered.put((900 * period, home), rows.PeriodEnergy(period, 0, -1, 3))
            state.claims.put(home, rows.Claim(period + 1))
        state.periods.put(900 * period, rows.Period(900, rows.PERIOD_PROVISIONAL, 1_000_000, 0, b""))
        hashed = 0
        state.state_hash()
        return hashed

    def costs(periods: range) -> int:
        return max(settle(period) for period in periods)

    young = costs(range(100))
    for period in range(100, 30_000):
        state.periods.put(900 * period, rows.Period(900, rows.PERIOD_FINAL, 1_000_000, 0, b""))
        state.metered.put((900 * period, homes[0]), rows.PeriodEnergy(period, 0, -1, 3))
        state.registers.put((homes[0], 900 * period), rows.Registers(period, 0, -1, 0, 3, b""))
    state.state_hash()
    assert costs(range(30_000, 30_100)) <= 1.5 * young


def test_the_hash_of_a_living_ledger_is_that_of_its_rows() -> None:
    chain = a_busy_morning()
    replayed = chain.replay()
    for block in chain.blocks:
        replayed.apply(block)
        assert replayed.state_hash() == naive_hash(replayed.state)


def test_a_whole_morning_survives_a_snapshot_and_goes_on_alike() -> None:
    """A node that takes up the state half-way executes the rest to the same hashes."""
    chain = a_busy_morning()
    replayed = chain.replay()
    for block in chain.blocks[:3]:
        replayed.apply(block)
    content = cbor.decode(cbor.encode(replayed.state.dump()))
    joined = Machine(chain.genesis, chain.chain_id, chain.mechanisms, verify, State.restore(content))
    assert (joined.height, joined.time_s) == (3, replayed.time_s)
    for block in chain.blocks[3:]:
        assert joined.check_view(block) is None
        assert joined.apply(block) == chain.events[block.header.height]
        replayed.apply(block)
        assert joined.state_hash() == replayed.state_hash()
    assert joined.state_hash() == chain.machine.state_hash()
    assert joined.state.dump() == chain.machine.state.dump()


def test_executing_twice_gives_the_same_events_and_hashes() -> None:
    first, second = a_busy_morning(), a_busy_morning()
    assert first.events == second.events
    assert first.machine.state_hash() == second.machine.state_hash()


@pytest.mark.parametrize(
    "entry", [[99, b"x", [1]], [15, b"x", [1, 2]], [15, b"x", []], [11, 900, [1, 2, 3, 4, 5, b""]]]
)
def test_a_snapshot_of_another_version_is_refused(entry: list[object]) -> None:
    with pytest.raises(ValueError, match="snapshot: "):
        State.restore([entry])


def test_rows_by_period_are_found_as_in_any_table() -> None:
    """Ranges within a period, over some and over all; by account where that comes first; counted alike."""
    state = State()
    anna, bela = b"anna".ljust(16), b"bela".ljust(16)
    keys = [(start_s, account) for start_s in (2700, 0, 900, 1800) for account in (bela, anna)]
    for number, key in enumerate(keys):
        state.metered.put(key, rows.PeriodEnergy(number, 0, -1, 3))
        state.registers.put((key[1], key[0]), rows.Registers(number, 0, -1, 0, 3, b""))
    assert [key for key, _ in state.metered.items()] == sorted(keys)
    for low, high in (
        ((900, b""), (901, b"")),
        ((0, bela), (1800, b"")),
        ((0, b""), (9999, b"")),
        ((5, b""), (6, b"")),
    ):
        expected = [key for key in sorted(keys) if low <= key < high]
        assert [key for key, _ in state.metered.range(low, high)] == expected
        assert state.metered.count(low, high) == len(expected)
        newest = state.metered.last(low, high)
        assert (newest and newest[0]) == (expected[-1] if expected else None)
    of_anna = [(anna, start_s) for start_s in (0, 900, 1800, 2700)]
    assert [key for key, _ in state.registers.range((anna, 0), (anna + b"\0", 0))] == of_anna
    assert [key for key, _ in state.registers.items()] == [*of_anna, *((bela, start_s) for _, start_s in of_anna)]
    assert len(state.metered) == len(state.registers) == 8
    state.metered.delete((900, anna))
    assert (900, anna) not in state.metered and state.metered.get((900, anna)) is None and len(state.metered) == 7
    with pytest.raises(KeyError):
        state.metered.delete((900, anna))
    with pytest.raises(KeyError):
        state.metered[900, anna]


def test_a_range_is_taken_in_key_order() -> None:
    state = State()
    for key in ((5, 1, 0), (4, 9, 9), (5, 0, 2), (6, 0, 0), (5, 0, 1)):
        state.orders.put(key, rows.OpenOrder(b"", b"", 1, 1, 1, b""))
    assert [key for key, _ in state.orders.range((5, 0, 0), (6, 0, 0))] == [(5, 0, 1), (5, 0, 2), (5, 1, 0)]
    # Rows may go while one looks at them.
    for key, _ in state.orders.range((5, 0, 0), (6, 0, 0)):
        state.orders.delete(key)
    assert [key for key, _ in state.orders.items()] == [(4, 9, 9), (6, 0, 0)]


@given(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)), st.integers(0, 13), st.integers(0, 13))
def test_the_last_row_of_a_range_is_the_one_that_comes_last_in_it(
    put: set[int], dropped: set[int], low: int, high: int
) -> None:
    state = State()
    for key in (*put, *dropped):
        state.periods.put(key, rows.Period(900, 0, key, 0, b""))
    assert state.periods.last(low, high) == next(reversed([*state.periods.range(low, high)]), None)
    for key in dropped:
        state.periods.delete(key)
    assert state.periods.last(low, high) == next(reversed([*state.periods.range(low, high)]), None)


def test_the_meters_of_an_account_are_found_as_the_rows_say() -> None:
    state = State()
    anna, bela = b"anna".ljust(16), b"bela".ljust(16)
    for meter, account in ((b"roof", anna), (b"barn", anna), (b"home", bela)):
        state.meters.put(meter, rows.Meter(account, meter.decode(), 0))
    state.meters.put(b"roof", rows.Meter(anna, "roof", 0, until_s=900))
    assert [(meter, row.until_s) for meter, row in state.meters.of_account(anna)] == [(b"barn", 0), (b"roof", 900)]
    assert list(State.restore(state.dump()).meters.of_account(anna)) == list(state.meters.of_account(anna))
    state.meters.delete(b"barn")
    assert [meter for meter, _ in state.meters.of_account(anna)] == [b"roof"]
    assert list(state.meters.of_account(b"nobody".ljust(16))) == []


def test_nonces_go_when_they_have_run_out() -> None:
    state = State()
    key = b"key".ljust(8)
    for number, until_s in ((1, 50), (2, 10), (3, 30)):
        state.nonces.put((key, number), rows.Nonce(b"", until_s, 1))
    state.nonces.put((key, 3), rows.Nonce(b"", 70, 2))
    state.nonces.put((key, 2), rows.Nonce(b"", 10, 2))
    state.nonces.drop(10)
    assert [number for (_, number), _ in state.nonces.items()] == [1, 2, 3]
    state.nonces.drop(51)
    assert [number for (_, number), _ in state.nonces.items()] == [3]
    state = State.restore(state.dump())
    state.nonces.drop(71)
    assert len(state.nonces) == 0


def test_rows_are_values() -> None:
    """Nothing in the state can change without its table knowing."""
    row = rows.Balance(1, 2)
    with pytest.raises(AttributeError):
        row.free = 3
    assert all(
        struct.__struct_config__.frozen
        for struct in vars(rows).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
    )
