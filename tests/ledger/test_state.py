"""State: one hash for one content, however it came about."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnode.keys import verify
from meshnode.ledger import rows
from meshnode.ledger.state import State
from meshnode.machine import Machine
from protocols import cbor, merkle
from tests.ledger.chain import a_busy_morning

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
    """As the module says it: leaves in 256 buckets by the hash of their key, a Merkle root over the buckets' roots."""
    state = state_of({(b"a", "SUN"): (1, 2), (b"b", "SUN"): (3, 4)})
    buckets: list[dict[bytes, bytes]] = [{} for _ in range(256)]
    number = 8
    for account, row in ((b"a", [1, 2]), (b"b", [3, 4])):
        name = merkle_name([number, [account, "SUN"]])
        buckets[name[0]][name] = merkle.leaf_hash(cbor.encode([number, [account, "SUN"], row]))
    roots = [merkle.root([bucket[name] for name in sorted(bucket)]) for bucket in buckets]
    assert state.state_hash() == merkle.root(roots)


def merkle_name(place: list[object]) -> bytes:
    return hashlib.sha256(cbor.encode(place)).digest()


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


@pytest.mark.parametrize("entry", [[99, b"x", [1]], [15, b"x", [1, 2]], [15, b"x", []]])
def test_a_snapshot_of_another_version_is_refused(entry: list[object]) -> None:
    with pytest.raises(ValueError, match="snapshot: "):
        State.restore([entry])


def test_a_range_is_taken_in_key_order() -> None:
    state = State()
    for key in ((5, 1, 0), (4, 9, 9), (5, 0, 2), (6, 0, 0), (5, 0, 1)):
        state.orders.put(key, rows.OpenOrder(b"", b"", 1, 1, 1, b""))
    assert [key for key, _ in state.orders.range((5, 0, 0), (6, 0, 0))] == [(5, 0, 1), (5, 0, 2), (5, 1, 0)]
    # Rows may go while one looks at them.
    for key, _ in state.orders.range((5, 0, 0), (6, 0, 0)):
        state.orders.delete(key)
    assert [key for key, _ in state.orders.items()] == [(4, 9, 9), (6, 0, 0)]


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
