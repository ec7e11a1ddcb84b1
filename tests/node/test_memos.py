"""Memos: both ends of a transfer can read them, nobody else, and a memo belongs to one transfer."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.keys import SigningKey
from meshnode.memos import MAX_MEMO_TEXT_BYTES, MemoError, Memos, Place
from protocols.records.statements import MAX_MEMO_BYTES
from tests.ledger.chain import Chain, account
from tests.protocols.keys import key_pair, seed_of

CHAIN = Chain()
STATE = CHAIN.machine.state
PLACE = Place(account("anna"), 7, account("bela"), "SUN", 30)


def memos(home: str, chain_id: bytes = CHAIN.chain_id) -> Memos:
    return Memos(chain_id, SigningKey(seed_of(home)))


@given(st.text(min_size=1, max_size=MAX_MEMO_TEXT_BYTES).filter(lambda text: len(text.encode()) <= MAX_MEMO_TEXT_BYTES))
def test_both_ends_read_it_and_nobody_else(text: str) -> None:
    memo = memos("anna").sealed(text, PLACE, STATE)
    assert [memos(home).read(memo, PLACE) for home in ("anna", "bela", "carla")] == [text, text, None]


def test_its_size_tells_one_of_three_things() -> None:
    sizes = [len(memos("anna").sealed("x" * length, PLACE, STATE)) for length in (1, 63, 64, 127, 128, 255)]
    assert sizes == [241, 241, 305, 305, 433, 433] and max(sizes) <= MAX_MEMO_BYTES


def test_no_two_memos_are_alike() -> None:
    assert memos("anna").sealed("thanks", PLACE, STATE) != memos("anna").sealed("thanks", PLACE, STATE)


@pytest.mark.parametrize(
    "changes",
    [
        {"giver": account("carla")},
        {"nonce": 8},
        {"taker": account("carla")},
        {"asset": "MOON"},
        {"amount": 31},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_beside_another_transfer_it_cannot_be_read(changes: dict[str, object]) -> None:
    """Who copies a memo cannot make it seem to say something about another amount."""
    memo = memos("anna").sealed("for the cherries", PLACE, STATE)
    assert memos("bela").read(memo, msgspec.structs.replace(PLACE, **changes)) is None


def test_nor_on_another_chain() -> None:
    memo = memos("anna").sealed("for the cherries", PLACE, STATE)
    assert memos("bela", bytes(32)).read(memo, PLACE) is None


def test_a_damaged_memo_is_none() -> None:
    """Every byte counts; but for the sender's own box, which the receiver does not need."""
    memo = memos("anna").sealed("for the cherries", PLACE, STATE)
    for position in (0, 1, 80, len(memo) - 1):
        damaged = memo[:position] + bytes([memo[position] ^ 1]) + memo[position + 1 :]
        assert memos("bela").read(damaged, PLACE) is None
    for length in (0, 1, 100, 161):
        assert memos("bela").read(memo[:length], PLACE) is None
    assert memos("bela").read(b"a line from another program", PLACE) is None


@pytest.mark.parametrize("text", ["", "x" * (MAX_MEMO_TEXT_BYTES + 1), "ä" * 128])
def test_what_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(MemoError, match=f"write 1 to {MAX_MEMO_TEXT_BYTES}"):
        memos("anna").sealed(text, PLACE, STATE)


def test_a_receiver_without_a_key_is_named() -> None:
    with pytest.raises(MemoError, match="leave the memo out"):
        memos("anna").sealed("hello", msgspec.structs.replace(PLACE, taker=bytes(16)), STATE)


def test_a_replaced_key_reads_new_memos_only() -> None:
    """Said in the text of the module: who replaces a key keeps nothing to read older memos with."""
    chain = Chain()
    old = memos("anna", chain.chain_id).sealed("before", PLACE, chain.machine.state)
    spare = key_pair("bela's new key")
    chain.block(chain.change_key("bela", key_pair("bela"), spare))
    new = memos("anna", chain.chain_id).sealed("after", PLACE, chain.machine.state)
    reader = memos("bela's new key", chain.chain_id)
    assert [reader.read(memo, PLACE) for memo in (old, new)] == [None, "after"]
