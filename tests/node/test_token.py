"""Token: what a page must show before it may change anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshnode.config import TOKEN_FILE, ConfigError
from meshnode.node import SHORTEST_TOKEN, read_token


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        token = read_token(tmp_path)
    finally:
        os.umask(before)
    path = tmp_path / TOKEN_FILE
    assert path.read_text() == f"{token}\n" and len(token) >= 43, "256 bits"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_token(tmp_path) == token
    assert sorted(path.name for path in tmp_path.iterdir()) == [TOKEN_FILE]


def test_two_nodes_have_two_tokens(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert read_token(tmp_path) != read_token(tmp_path / "other")


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    read_token(tmp_path)
    path = tmp_path / TOKEN_FILE
    path.chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        read_token(tmp_path)
    assert str(refused.value) == f"{path}: others can read the token\n    run: chmod 600 {path}"


@pytest.mark.parametrize("left", ["", "\n", "x" * (SHORTEST_TOKEN - 1)])
def test_an_empty_or_short_token_opens_nothing(tmp_path: Path, left: str) -> None:
    """As a power cut may leave it: whoever sends nothing must not be let in."""
    path = tmp_path / TOKEN_FILE
    path.touch(mode=0o600)
    path.write_text(left)
    with pytest.raises(ConfigError) as refused:
        read_token(tmp_path)
    assert str(refused.value) == (
        f"{path}: {len(left.strip())} characters, a token has at least 16\n    remove the file, the node makes another"
    )
    path.unlink()
    assert len(read_token(tmp_path)) >= SHORTEST_TOKEN


def test_what_a_power_cut_left_of_the_first_attempt_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / f"{TOKEN_FILE}.new").write_text("half")
    token = read_token(tmp_path)
    assert token != "half" and [path.name for path in tmp_path.iterdir()] == [TOKEN_FILE]
