"""Keys: files that only their owner reads, and signatures that are checked once and never too kindly."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from meshnode import keys
from meshnode.keys import KeyFileError, SignatureCheck, SigningKey, verify

KEY = SigningKey(bytes(range(32)))
OTHER = SigningKey(bytes(32))


def refusal_of(path: Path) -> str:
    with pytest.raises(KeyFileError) as refused:
        keys.load(path)
    return str(refused.value)


def test_a_key_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "device.key"
    keys.save(path, KEY)
    again = keys.load(path)
    assert (again.seed, again.public, again.key_id) == (KEY.seed, KEY.public, KEY.key_id)
    assert path.read_text() == f"{bytes(range(32)).hex()}\n"


def test_a_key_and_its_signature_are_those_of_the_standard() -> None:
    """RFC 8032, section 7.1, test 2."""
    key = SigningKey(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_generated_keys_differ_and_do_not_show_themselves() -> None:
    first, second = SigningKey.generate(), SigningKey.generate()
    assert first.seed != second.seed
    assert first.seed.hex() not in repr(first) and repr(first) == f"<SigningKey {first.key_id.hex()}>"


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_its_owner_reads_a_key_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        keys.save(tmp_path / "keys" / "device.key", KEY)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys" / "device.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    keys.save(path, KEY)
    with pytest.raises(KeyFileError) as refused:
        keys.save(path, OTHER)
    assert str(refused.value) == f"{path}: there is a key already; move it away first if it should be replaced"
    # Not even one that leads elsewhere, or nowhere.
    (tmp_path / "member.key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileError, match="there is a key already"):
        keys.save(tmp_path / "member.key", OTHER)
    assert keys.load(path).seed == KEY.seed and not (tmp_path / "nowhere").exists()


def test_a_disk_that_refuses_leaves_no_half_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "device.key"
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(KeyFileError) as refused:
            keys.save(path, KEY)
    assert (
        str(refused.value)
        == f"{path}: cannot be written: No space left on device; choose another place, or make room there"
    )
    assert not path.exists()
    keys.save(path, KEY)


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(KeyFileError) as refused:
        keys.save(tmp_path / "keys" / "device.key", KEY)
    assert str(refused.value) == (
        f"{tmp_path}/keys/device.key: cannot be written: {tmp_path}/keys is a file; choose another place"
    )


def test_every_refusal_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    assert refusal_of(path) == f"{path}: the key cannot be read: No such file or directory; restore it from the backup"
    keys.save(path, KEY)
    for mode in (0o640, 0o604, 0o620, 0o610, 0o666):
        path.chmod(mode)
        assert refusal_of(path) == f"{path}: mode {mode:04o} lets others read the key; run: chmod 600 {path}"
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe binary")
    assert refusal_of(path) == f"{path}: is not a key file (expected 64 hex digits); restore it from the backup"
    path.write_text("not hex")
    assert refusal_of(path) == f"{path}: is not a key file (expected 64 hex digits); restore it from the backup"
    path.write_text("")
    assert refusal_of(path) == f"{path}: holds 0 bytes, a key has 32; restore it from the backup"
    path.write_text("ab" * 33)
    assert refusal_of(path) == f"{path}: holds 33 bytes, a key has 32; restore it from the backup"
    path.unlink()
    path.mkdir(mode=0o700)
    assert refusal_of(path) == f"{path}: the key cannot be read: Is a directory; restore it from the backup"


# --- signatures

MESSAGE = b"anna sells 500 Wh"
GOOD = KEY.sign(MESSAGE)
FORGERIES = {
    "another message": (KEY.public, MESSAGE + b"!", GOOD),
    "another key": (OTHER.public, MESSAGE, GOOD),
    "a signature with one bit changed": (KEY.public, MESSAGE, bytes([GOOD[0] ^ 1]) + GOOD[1:]),
    "no signature": (KEY.public, MESSAGE, b""),
    # The parts joined are the same bytes as those of the good one.
    "the signature's end in the message": (KEY.public, GOOD[63:] + MESSAGE, GOOD[:63]),
    "the message's beginning in the signature": (KEY.public, MESSAGE[1:], GOOD + MESSAGE[:1]),
    "the key's end in the signature": (KEY.public[:31], MESSAGE, KEY.public[31:] + GOOD),
    "the signature's beginning in the key": (KEY.public + GOOD[:1], MESSAGE, GOOD[1:]),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_refused_before_and_after_the_good_one_was_seen(forgery: str) -> None:
    check = SignatureCheck()
    assert not check(*FORGERIES[forgery]) and not verify(*FORGERIES[forgery])
    assert check(KEY.public, MESSAGE, GOOD) and verify(KEY.public, MESSAGE, GOOD)
    assert not check(*FORGERIES[forgery]), "what is remembered of the good one does not help it"
    assert check(KEY.public, MESSAGE, GOOD), "nor does the forgery spoil the good one"


def test_a_good_signature_is_verified_once_and_the_oldest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[bytes] = []

    def watched(public_key: bytes, message: bytes, signature: bytes) -> bool:
        verified.append(message)
        return verify(public_key, message, signature)

    monkeypatch.setattr(keys, "verify", watched)
    check = SignatureCheck(remembered=2)
    messages = [b"one", b"two", b"three"]
    for message in messages:
        assert check(KEY.public, message, KEY.sign(message)) and check(KEY.public, message, KEY.sign(message))
    assert verified == messages
    assert check(KEY.public, b"three", KEY.sign(b"three")) and check(KEY.public, b"two", KEY.sign(b"two"))
    assert verified == messages
    assert check(KEY.public, b"one", KEY.sign(b"one"))
    assert verified == [*messages, b"one"]
    # A bad one is never remembered: it must not push out the good ones.
    for _ in range(3):
        assert not check(KEY.public, b"three", GOOD)
    assert verified == [*messages, b"one", b"three", b"three", b"three"]
    assert check(KEY.public, b"three", KEY.sign(b"three")) and len(verified) == 7


def test_many_threads_check_at_once_and_all_are_right() -> None:
    """The memory is so small that it is changed all the time."""
    check = SignatureCheck(remembered=4)
    cases = [(KEY.public, bytes([number]), KEY.sign(bytes([number])), True) for number in range(12)]
    cases += [(OTHER.public, message, signature, False) for _, message, signature, _ in cases]
    together = threading.Barrier(4)

    def one(turn: int) -> list[bool]:
        together.wait()
        order = cases[turn * 3 :] + cases[: turn * 3]
        return [check(*case[:3]) is case[3] for case in order * 20]

    with ThreadPoolExecutor(4) as threads:
        for right in threads.map(one, range(4)):
            assert all(right) and len(right) == 20 * len(cases)
