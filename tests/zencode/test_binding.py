"""The tree's encoding: one for each binding, checked against an independent CBOR library."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import cbor2
import pytest

from zencode import cbor
from zencode.binding import (
    MAX_STATEMENTS,
    Binding,
    BindingTreeError,
    Block,
    Statement,
    binding_hash,
    check_tree,
    decode,
    encode,
)
from zencode.presets import NAMES, preset
from zencode.reader import read

VERSION = Statement(2, (1,))
CURRENCY = Statement(100, ("EUR",))
NET = Block(Statement(304), (), (Statement(550),))
SMALL = Binding("market", "Palm Bay", (VERSION,), (CURRENCY, Statement(105, (320_000,))), (NET,))


def _tree(**parts: Any) -> bytes:
    """The encoding of SMALL with some parts put in their place, whatever they are."""
    tree = {
        "form": 1,
        "scenario": "market",
        "title": "Palm Bay",
        "rules": [[2, [1]]],
        "givens": [[100, ["EUR"]], [105, [320_000]]],
        "blocks": [[[304, []], [], [[550, []]]]],
    }
    return cbor2.dumps(list((tree | parts).values()))


def test_the_encoding_is_plain_cbor() -> None:
    assert encode(SMALL) == _tree()
    assert encode(SMALL).hex() == (
        "8601666d61726b65746850616c6d20426179"  # [1, "market", "Palm Bay",
        "8182028101"  # [[2, [1]]],
        "828218648163455552821869811a0004e200"  # [[100, ["EUR"]], [105, [320000]]],
        "8183821901308080818219022680"  # [[[304, []], [], [[550, []]]]]]
    )
    assert binding_hash(SMALL) == sha256(_tree()).digest()


@pytest.mark.parametrize("name", NAMES)
def test_an_independent_library_reads_and_writes_the_same_bytes(name: str) -> None:
    data = encode(read(preset(name)))
    assert cbor2.dumps(cbor2.loads(data), canonical=True) == data


def test_decoding_gives_the_binding_back() -> None:
    assert decode(encode(SMALL)) == SMALL


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ends in the middle"),
        (_tree()[:-1], "ends in the middle"),
        (_tree() + b"\0", "1 bytes after the end"),
        (b"\x9f\xff", "expected a whole number, a text or an array"),
        (b"\x18\x01", "not in its shortest form"),
        (b"\x19\x00\xff", "not in its shortest form"),
        (b"\x1b\xff\xff\xff\xff\xff\xff\xff\xff", "signed 64-bit"),
        (b"\x9a\xff\xff\xff\xff", "items announced"),
        (b"\x7a\xff\xff\xff\xff", "items announced"),
        (b"\x62\xff\xff", "not UTF-8"),
        (b"\x81" * 20 + b"\x00", "nest deeper"),
        (b"\xf9\x00\x00", "expected a whole number"),
        (b"\x20", "expected a whole number"),
        (b"\0" * (cbor.MAX_BYTES + 1), "at most 65536"),
        (b"\x01", "expected an array of 6"),
        (_tree(form=3), "tree format 3"),
        (_tree(title=7), "are texts"),
        (_tree(title=""), "empty, too long or"),
        (_tree(title="two  spaces"), "untidy"),
        (_tree(title="na\u0308ive"), "untidy"),
        (_tree(scenario="\u202e"), "untidy"),
        (_tree(rules=[]), "does not say its version"),
        (_tree(rules=[[2, [2]]]), "outside 1 to 1"),
        (_tree(rules=[[1, ["en"]], [2, [1]]]), "statement 1 is not in this catalogue"),
        (_tree(rules=[[2, [1]], [9999, []]]), "statement 9999 is not in this catalogue"),
        (_tree(rules=[["2", [1]]]), "begins with its number"),
        (_tree(rules=[[2, [1]], [100, ["EUR"]]]), "stands in RULE"),
        (_tree(givens=[[105, [320_000]], [100, ["EUR"]]]), "not sorted"),
        (_tree(givens=[[100, ["EUR"]], [105, [1000]], [105, [2000]]]), "stands twice"),
        (_tree(givens=[[105, [320_000]]]), "prices but no currency"),
        (_tree(givens=[[100, ["EUR"]], [105, [320_500]]]), "multiple of 1000"),
        (_tree(givens=[[100, ["EUR"]], [105, ["320"]]]), "whole number"),
        (_tree(givens=[[100, ["EUR"]], [105, [10**10]]]), "lies between"),
        (_tree(givens=[[100, ["EUR"]], [105, []]]), "has 0 slots"),
        (_tree(givens=[[100, ["Eur"]]]), "currency"),
        (_tree(givens=[[100, ["EUR"]], [101, [30]]]), "outside 60 to 86400"),
        (_tree(givens=[[100, ["EUR"]], [104, [[1, 1]]]]), "months or seconds"),
        (_tree(givens=[[100, ["EUR"]], [104, [[0, 0]]]]), "months or seconds"),
        (_tree(givens=[[100, ["EUR"]], [104, [1]]]), "(months, seconds)"),
        (_tree(givens=[[100, ["EUR"]], [112, ["a", 1, 2]]]), "whole minutes"),
        (_tree(givens=[[100, ["EUR"]], [107, [" a"]]]), "role"),
        (_tree(blocks=[[[304, []], [], []]]), "has no action"),
        (_tree(blocks=[[[304, []], []]]), "expected an array of 3"),
        (_tree(blocks=[[[550, []], [], [[550, []]]]]), "stands in WHEN"),
        (_tree(blocks=[[[304, []], [], [[552, ["a", "everything"]]]]]), "no known word"),
        (_tree(blocks=[[[303, []], [], [[532, ["network fee", []]]]]]), "1 to 16 shares"),
        (_tree(blocks=[[[303, []], [], [[532, ["network fee", [[1]]]]]]]), "parts per million"),
        (_tree(blocks=[[[303, []], [], [[532, ["network fee", [[1, ""]]]]]]]), "a name is"),
        (_tree(blocks=[[[304, []], [], [[550, []]] * MAX_STATEMENTS]]), "at most 300"),
    ],
)
def test_what_no_text_compiles_to_is_no_binding(data: bytes, reason: str) -> None:
    with pytest.raises(BindingTreeError) as refused:
        decode(data)
    assert reason in str(refused.value)


def test_what_the_reader_makes_is_a_proper_tree() -> None:
    for name in NAMES:
        check_tree(read(preset(name)))


def test_the_order_of_rules_and_givens_is_no_part_of_the_hash() -> None:
    lines = preset("mid_market_village").split("\n")
    first = next(i for i, line in enumerate(lines) if line.startswith("Given"))
    lines[first], lines[first + 1] = (
        lines[first + 1].replace("And", "Given"),
        lines[first].replace("Given", "And"),
    )
    assert binding_hash(read("\n".join(lines))) == binding_hash(read(preset("mid_market_village")))


def test_the_order_of_blocks_is() -> None:
    other = Binding(SMALL.scenario, SMALL.title, SMALL.rules, SMALL.givens, (NET, NET))
    leave = Block(Statement(301), (), (Statement(560, ((1, 0),)),))
    one, two = (
        Binding(other.scenario, other.title, other.rules, other.givens, blocks)
        for blocks in ((NET, leave), (leave, NET))
    )
    assert binding_hash(one) != binding_hash(two)


def test_a_number_that_could_not_be_read_back_is_not_written() -> None:
    assert cbor.loads(cbor.dumps((2**63 - 1,))) == (2**63 - 1,)
    for number in (2**63, -1):
        with pytest.raises(cbor.EncodingError, match="expected 0 to 9223372036854775807"):
            cbor.dumps((number,))
