"""Members: who belongs to the community, with which keys and meters."""

from __future__ import annotations

import msgspec

from meshnode.ledger import rows
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from protocols import cose
from protocols.cose import key_id_of
from protocols.records import Join, KeyChange, Leave, MemberEntry, account_id_of, join_request_bytes, meter_id_of

ADMINISTRATOR = "administrator"
# Twice what a genesis may found, members who left among them: their names and claims stay.
# Settlement takes twice as many again, so a full community can still settle.
MAX_ACCOUNTS = 2000


def is_administrator(state: State, account: bytes) -> bool:
    """Whether an account may admit members and issue assets."""
    row = state.accounts.get(account)
    return row is not None and not row.left_s and ADMINISTRATOR in row.roles


def signer(state: State, key_id: bytes, height: int) -> rows.Key | None:
    """The key with this id as it stood after `height`; None if there was none or it had ended."""
    row = state.keys.get(key_id)
    if row is None or row.from_height > height or (row.until_height and row.until_height <= height):
        return None
    return row


def found(state: State, entry: MemberEntry, height: int, time_s: int, first_period_s: int) -> None:
    """Enter a member whose entry was checked; its meters count from `first_period_s` on."""
    account = account_id_of(entry.member_key)
    state.accounts.put(account, rows.Account(entry.name, tuple(sorted(entry.roles)), time_s))
    state.names.put(entry.name, rows.NameOf(account))
    _add_key(state, entry.member_key, rows.PURPOSE_MEMBER, account, b"", height)
    if entry.device_key is not None:
        _add_key(state, entry.device_key, rows.PURPOSE_DEVICE, account, b"", height)
    for meter in entry.meters:
        meter_id = meter_id_of(meter.meter_key)
        state.meters.put(meter_id, rows.Meter(account, meter.metering_point, first_period_s))
        _add_key(state, meter.meter_key, rows.PURPOSE_METER, account, meter_id, height)


def fault_of_entry(state: State, entry: MemberEntry) -> Verdict:
    """Whether a member with these names and keys could be entered."""
    if entry.name in state.names:
        return Verdict.NAME_TAKEN
    keys = [entry.member_key, *(meter.meter_key for meter in entry.meters)]
    if entry.device_key is not None:
        keys.append(entry.device_key)
    key_ids = [key_id_of(key) for key in keys]
    if len(set(key_ids)) != len(key_ids) or any(key_id in state.keys for key_id in key_ids):
        return Verdict.KEY_TAKEN
    if account_id_of(entry.member_key) in state.accounts:
        return Verdict.KEY_TAKEN
    return Verdict.ACCEPTED


def is_full(state: State) -> bool:
    """Whether there are as many accounts as the ledger settles."""
    return len(state.accounts) >= MAX_ACCOUNTS


def fault_of_join(state: State, record: Join, chain_id: bytes, verifier: cose.Verifier) -> Verdict:
    """What stands against entering a newcomer whom the binding lets in."""
    if is_full(state):
        return Verdict.COMMUNITY_FULL
    fault = fault_of_entry(state, record.member)
    if fault != Verdict.ACCEPTED:
        return fault
    request = join_request_bytes(chain_id, record.invitation, record.member)
    if not verifier(record.member.member_key, request, record.proof):
        return Verdict.BAD_PROOF
    return Verdict.ACCEPTED


def leave(
    state: State,
    record: Leave,
    signer_account: bytes,
    validators: frozenset[bytes],
    *,
    height: int,
    time_s: int,
    end_s: int,
) -> Verdict:
    """End a membership; its meters count to the end of the running period.

    Args:
        validators: key ids of devices that vote; their owner cannot leave that way.
        end_s: the first period boundary at or after the block's time.
    """
    row = state.accounts.get(record.account)
    if row is None or row.left_s:
        return Verdict.UNKNOWN_ACCOUNT
    if signer_account != record.account and not is_administrator(state, signer_account):
        return Verdict.NOT_ADMINISTRATOR
    keys = [
        (key_id, key) for key_id, key in state.keys.items() if key.account == record.account and not key.until_height
    ]
    if any(key_id in validators for key_id, _ in keys):
        return Verdict.VALIDATOR_KEY
    state.accounts.put(record.account, msgspec.structs.replace(row, left_s=time_s))
    for key_id, key in keys:
        # The meter's key outlives the membership: the last period is still to be read.
        if key.purpose != rows.PURPOSE_METER:
            state.keys.put(key_id, _ended(key, height))
    for meter_id, meter in state.meters.of_account(record.account):
        if not meter.until_s:
            state.meters.put(meter_id, msgspec.structs.replace(meter, until_s=end_s))
    return Verdict.ACCEPTED


def change_key(
    state: State, record: KeyChange, signer_account: bytes, validators: frozenset[bytes], height: int
) -> Verdict:
    """Replace or revoke one of the signer's own keys; ids of account and meter stay.

    A device that votes may get a new key: its card was lost or restored, and the old key never
    signs again. It stays a validator by name, and counts as absent, until an
    administrator puts the new key in its place.

    Args:
        validators: key ids of devices that vote; their keys are not simply revoked.
    """
    row = state.keys.get(record.old_key_id)
    if row is None or row.until_height or row.account != signer_account:
        return Verdict.UNKNOWN_KEY
    if record.new_key is None and record.old_key_id in validators:
        return Verdict.VALIDATOR_KEY
    if record.new_key is None and row.purpose == rows.PURPOSE_MEMBER:
        # Without a member key nobody could ever act for the account again.
        return Verdict.WRONG_KEY
    if record.new_key is not None:
        if key_id_of(record.new_key) in state.keys:
            return Verdict.KEY_TAKEN
        _add_key(state, record.new_key, row.purpose, row.account, row.meter, height)
    state.keys.put(record.old_key_id, _ended(row, height))
    return Verdict.ACCEPTED


def _ended(key: rows.Key, height: int) -> rows.Key:
    return msgspec.structs.replace(key, until_height=height)


def _add_key(state: State, key: bytes, purpose: int, account: bytes, meter: bytes, height: int) -> None:
    state.keys.put(key_id_of(key), rows.Key(key, purpose, account, meter, height))
