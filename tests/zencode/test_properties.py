"""What holds for every binding and every text: one hash, and no surprise from the reader."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.zencode.strategies import bindings, statement
from zencode.binding import Binding, BindingTreeError, binding_hash, decode, encode
from zencode.grammar import tokens_of
from zencode.languages import LANGUAGES
from zencode.mistakes import BindingErrors
from zencode.phrases import read_phrase
from zencode.presets import NAMES, preset
from zencode.reader import read, read_document
from zencode.sentences import LANGUAGE_RULE, SENTENCES, Sentence
from zencode.writer import fmt, translate, write, write_statement

CODES = sorted(LANGUAGES)
_slow = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_slow
@given(bindings(), st.sampled_from(CODES))
def test_what_is_written_reads_as_the_same_binding(binding: Binding, code: str) -> None:
    read_again = read(write(binding, code))
    assert read_again == binding
    assert binding_hash(read_again) == binding_hash(binding)


@_slow
@given(bindings(), st.permutations(CODES))
def test_a_binding_goes_through_all_languages_and_back(binding: Binding, codes: list[str]) -> None:
    first = write(binding, codes[0])
    text = first
    for code in [*codes[1:], codes[0]]:
        text = translate(read_document(text), code)
        assert binding_hash(read(text)) == binding_hash(binding)
    assert text == first


@_slow
@given(bindings())
def test_an_encoding_decodes_to_its_binding(binding: Binding) -> None:
    assert decode(encode(binding)) == binding


@_slow
@given(bindings(), st.lists(st.tuples(st.integers(0, 100), st.text("# aé'«漢", max_size=8)), max_size=5))
def test_comments_stay_where_they_are_in_every_language(binding: Binding, comments: list[tuple[int, str]]) -> None:
    lines = write(binding).rstrip("\n").split("\n")
    for at, text in comments:
        lines.insert(at % (len(lines) + 1), f"#{text}".rstrip(" "))
    document = read_document("\n".join(lines))
    assert document.binding == binding
    for code in CODES:
        kept = translate(document, code).rstrip("\n").split("\n")
        assert [line.startswith("#") for line in kept] == [line.startswith("#") for line in lines]
        assert [line for line in kept if line.startswith("#")] == [line for line in lines if line.startswith("#")]


@pytest.mark.parametrize("row", [row for row in SENTENCES if row.id != LANGUAGE_RULE], ids=lambda r: r.name)
@pytest.mark.parametrize("code", CODES)
def test_every_sentence_reads_back_with_any_values(row: Sentence, code: str) -> None:
    language = LANGUAGES[code]

    @settings(max_examples=15, deadline=None, database=None)
    @given(statement(row))
    def holds(found: object) -> None:
        tokens = tokens_of("x " + write_statement(found, code, "EUR"))  # type: ignore[arg-type]
        phrase = read_phrase(tokens[1:], row.phase, tokens[0], language)
        assert phrase.faults == ()
        assert phrase.statement == found

    holds()


def _read_or_refuse(text: str | bytes) -> None:
    try:
        document = read_document(text)
    except BindingErrors as wrong:
        assert wrong.mistakes
        assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in wrong.mistakes)
        return
    assert binding_hash(read(fmt(document))) == binding_hash(document.binding)
    assert decode(encode(document.binding)) == document.binding


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300)))
def test_noise_is_refused_with_mistakes_and_nothing_else(text: str | bytes) -> None:
    _read_or_refuse(text)


_LINES = [line for name in NAMES for code in CODES for line in preset(name, code).split("\n")]
_WORDS = sorted({word for line in _LINES for word in line.split()})
_jumbled = st.lists(st.sampled_from(_WORDS), max_size=12).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(_LINES), st.lists(st.sampled_from(_WORDS)).map(" ".join)), max_size=40))
def test_shuffled_lines_and_words_are_read_or_refused(lines: list[str]) -> None:
    _read_or_refuse("\n".join(["Rule language 'en'", *lines]))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(NAMES),
    st.sampled_from(CODES),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 6), st.text(max_size=4)), max_size=4),
)
def test_a_damaged_preset_is_read_or_refused(name: str, code: str, damages: list[tuple[int, int, str]]) -> None:
    text = preset(name, code)
    for at, length, put in damages:
        at %= len(text) + 1
        text = text[:at] + put + text[at + length :]
    _read_or_refuse(text)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 5_000), st.integers(1, 255))
def test_a_flipped_byte_of_an_encoding_is_refused_or_another_binding(name: str, at: int, flip: int) -> None:
    data = bytearray(encode(read(preset(name))))
    data[at % len(data)] ^= flip
    try:
        binding = decode(bytes(data))
    except BindingTreeError:
        return
    assert encode(binding) == data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_no_encoding(data: bytes) -> None:
    with pytest.raises(BindingTreeError):
        decode(data)
