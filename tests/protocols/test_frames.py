"""Frames: the same stream gives the same payloads, however it is cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.frames import MAX_FRAME_BYTES, FrameError, FrameReader, frame


def fed(pieces: list[bytes]) -> list[bytes]:
    reader = FrameReader()
    return [payload for piece in pieces for payload in reader.feed(piece)]


@given(st.lists(st.binary(max_size=50), max_size=8), st.randoms(use_true_random=False))
def test_whole_byte_by_byte_and_split_anywhere(payloads: list[bytes], rng: random.Random) -> None:
    stream = b"".join(frame(payload) for payload in payloads)
    cuts = sorted(rng.randint(0, len(stream)) for _ in range(5))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert fed([stream]) == payloads
    assert fed([stream[i : i + 1] for i in range(len(stream))]) == payloads
    assert fed(pieces) == payloads


def test_the_limit_is_exact() -> None:
    largest = bytes(MAX_FRAME_BYTES)
    assert fed([frame(largest)]) == [largest]
    with pytest.raises(FrameError, match="frame of 1048577 bytes to be sent, the limit is 1048576"):
        frame(largest + b"x")
    with pytest.raises(FrameError, match="frame of 1048577 bytes announced, the limit is 1048576"):
        fed([(MAX_FRAME_BYTES + 1).to_bytes(4, "big")])


def test_frames_before_a_bad_length_are_given_out_and_nothing_after_it() -> None:
    reader = FrameReader()
    payloads = reader.feed(frame(b"good") + b"\xff\xff\xff\xff" + frame(b"never"))
    assert next(payloads) == b"good"
    with pytest.raises(FrameError, match="frame of 4294967295 bytes announced"):
        next(payloads)
    with pytest.raises(FrameError):
        list(reader.feed(frame(b"never")))


def test_a_cut_stream_shows_as_pending_bytes() -> None:
    reader = FrameReader()
    assert list(reader.feed(frame(b"whole") + frame(b"cut")[:-1])) == [b"whole"]
    assert reader.pending == 6
    assert list(reader.feed(b"t")) == [b"cut"]
    assert reader.pending == 0


def test_bytes_are_kept_if_the_payloads_are_not_asked_for() -> None:
    # A receiver that stops in the middle of a batch must not lose what it was fed.
    reader = FrameReader()
    reader.feed(frame(b"one"))
    assert next(reader.feed(frame(b"two"))) == b"one"
    assert list(reader.feed(b"")) == [b"two"]


def test_a_smaller_limit_can_be_set() -> None:
    with pytest.raises(FrameError, match="the limit is 10"):
        list(FrameReader(max_frame_bytes=10).feed(frame(b"eleven chars")))
