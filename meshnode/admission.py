"""Admission: what an administrator's node decides about a newcomer at the door.

The invitation stands for the administrator's consent: whoever shows it, unexpired and
unused, for the role that it names, and proves its keys, gets a Join record signed with the
administrator's member key. The ledger has the last word, as for every record. What is said
at the door is in `protocols.joining`, how it gets there in `meshnode.network.joining`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from meshnode import keys
from meshnode.execution import joining
from meshnode.invitations import Invitation, InvitationError, Invitations, Use
from meshnode.keys import SigningKey
from meshnode.ledger.members import fault_of_entry, is_administrator, signer
from meshnode.ledger.verdicts import Verdict
from meshnode.machine import Machine
from meshnode.web.backend import Outcome
from meshnode.web.backend import Refused as NotTaken
from protocols import block as blocks
from protocols.cose import key_id_of
from protocols.joining import Admitted, Knock, Reason, Refused, check_proof
from protocols.records import Join, account_id_of

log = logging.getLogger(__name__)

# A block becomes final in a second; half a minute covers an election. A newcomer who is told
# to wait any longer knocks again, with the same invitation.
FINAL_WAIT_S = 30.0


class Grid(Protocol):
    """What an admission needs of the running microgrid; `meshnode.microgrid.Microgrid` has it."""

    @property
    def machine(self) -> Machine: ...
    @property
    def account(self) -> bytes: ...
    def nonce(self) -> int: ...
    def valid_until_s(self) -> int: ...
    async def submit_envelope(self, envelope: bytes) -> bytes: ...
    async def outcome(self, record_id: bytes, wait_s: float) -> Outcome: ...


class Admission:
    """Decides about newcomers to one microgrid.

    Args:
        administrator: member key of this node's owner; signs the Join records.
        invitations: of this microgrid, on this node's disk.
        now_s: UTC seconds of the real clock; invitations expire by it.
    """

    def __init__(
        self, grid: Grid, administrator: SigningKey, invitations: Invitations, now_s: Callable[[], int]
    ) -> None:
        self._grid = grid
        self._administrator = administrator
        self._invitations = invitations
        self._now_s = now_s

    async def check(self, knock: Knock, device_key: bytes) -> Refused | None:
        """What stands against a newcomer before anything is told or done; None if nothing does.

        Args:
            device_key: of the peer at the other end of the connection.
        """
        try:
            invitation, use = await trio.to_thread.run_sync(self._look_up, knock.invitation)
        except InvitationError as error:
            log.error("a newcomer could not be let in: %s", error)
            return _refused(Reason.UNKNOWN_INVITATION)
        machine, member = self._grid.machine, knock.member
        # Whoever lacks the secret learns nothing, not even whether there is such an invitation.
        if invitation is None or not invitation.opens_with(knock.secret):
            return _refused(Reason.UNKNOWN_INVITATION)
        if not is_administrator(machine.state, self._grid.account):
            return _refused(Reason.NOT_OPEN)
        if not check_proof(knock, machine.chain_id, device_key, keys.verify):
            return _refused(Reason.BAD_PROOF)
        if member.roles != (invitation.role,):
            return _refused(Reason.WRONG_ROLE)
        if use is None:
            return _refused(Reason.EXPIRED) if invitation.expires_s < self._now_s() else None
        # The same newcomer may come again: its line broke before it heard how it went on.
        return None if use.account == account_id_of(member.member_key).hex() else _refused(Reason.USED)

    async def admit(self, knock: Knock) -> Admitted | Refused:
        """Sign the Join record of a newcomer that `check` had nothing against, and wait until it is final."""
        try:
            return await self._admit(knock)
        except InvitationError as error:
            log.error("%s could not be let in: %s", knock.member.name, error)
            return _refused(Reason.NOT_FINAL_YET)

    def _look_up(self, id_: bytes) -> tuple[Invitation | None, Use | None]:
        return self._invitations.find(id_), self._invitations.use_of(id_)

    async def _admit(self, knock: Knock) -> Admitted | Refused:
        use = await trio.to_thread.run_sync(self._invitations.use_of, knock.invitation)
        # Until its validity ends the first Join may still become final; after that it never will.
        if use is not None and self._is_open(bytes.fromhex(use.record)):
            return _refused(Reason.LEDGER, Verdict.MEMBERS_ASKED)
        if use is not None and (self._is_member(knock) or self._grid.machine.time_s <= use.valid_until_s):
            return await self._wait(knock, bytes.fromhex(use.record))
        invitation = await trio.to_thread.run_sync(self._invitations.find, knock.invitation)
        if invitation is None:
            return _refused(Reason.UNKNOWN_INVITATION)
        record = self._join(knock, invitation)
        fault = self._fault(record)
        if fault != Verdict.ACCEPTED:
            return _refused(Reason.LEDGER, fault)
        signed = blocks.sign_record(
            record, self._grid.machine.chain_id, self._administrator.public, self._administrator.sign
        )
        use = Use(
            account=account_id_of(knock.member.member_key).hex(),
            record=signed.record_id.hex(),
            valid_until_s=record.valid_until_s,
        )
        # On disk before the record leaves: whatever happens now, nobody else comes in by this link.
        if not await trio.to_thread.run_sync(self._invitations.claim, knock.invitation, use):
            return _refused(Reason.USED)
        try:
            await self._grid.submit_envelope(signed.envelope_bytes)
        except NotTaken as refusal:
            log.warning("%s could not be let in: %s", knock.member.name, refusal)
            await trio.to_thread.run_sync(self._invitations.release, knock.invitation)
            return _refused(Reason.NOT_FINAL_YET)
        return await self._wait(knock, signed.record_id)

    def _fault(self, record: Join) -> Verdict:
        """What the ledger would say now. Asked before the invitation is used up, so that a taken name costs nothing."""
        machine = self._grid.machine
        said = joining.answer(machine.rules(machine.time_s), record, machine.time_s).verdict
        if said not in (Verdict.ACCEPTED, Verdict.MEMBERS_ASKED):
            return said
        return fault_of_entry(machine.state, record.member)

    def _is_open(self, request: bytes) -> bool:
        """Whether the members are asked about this request, and have not decided."""
        return request in self._grid.machine.state.join_requests

    def _join(self, knock: Knock, invitation: Invitation) -> Join:
        return Join(
            nonce=self._grid.nonce(),
            valid_until_s=self._grid.valid_until_s(),
            member=knock.member,
            invitation=knock.invitation,
            proof=knock.proof,
            shows=invitation.shows,
            behind=invitation.behind,
        )

    async def _wait(self, knock: Knock, record_id: bytes) -> Admitted | Refused:
        outcome = await self._grid.outcome(record_id, FINAL_WAIT_S)
        if outcome.status != "final":
            return _refused(Reason.NOT_FINAL_YET)
        # The state decides, not this one record: an earlier one of the same newcomer may have come first.
        if self._is_member(knock):
            log.info("%s was let in at height %d", knock.member.name, outcome.height)
            return Admitted(receipt=outcome.receipt)
        if self._is_open(record_id):
            return _refused(Reason.LEDGER, Verdict.MEMBERS_ASKED)
        await trio.to_thread.run_sync(self._invitations.release, knock.invitation)
        verdict = Verdict[outcome.verdict]
        # Somebody about whom the members were asked, and who is neither in nor waiting, was turned down.
        return _refused(Reason.LEDGER, Verdict.JOIN_REFUSED if verdict == Verdict.MEMBERS_ASKED else verdict)

    def _is_member(self, knock: Knock) -> bool:
        machine = self._grid.machine
        key = signer(machine.state, key_id_of(knock.member.member_key), machine.height)
        return key is not None and key.public_key == knock.member.member_key


def _refused(reason: Reason, verdict: Verdict = Verdict.ACCEPTED) -> Refused:
    return Refused(reason=int(reason), verdict=int(verdict))
