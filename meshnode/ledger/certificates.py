"""Certificates: the Wh of confirmed plants that left the community, as ranges that members pass on and retire.

What members of the community use themselves is accounted for where it was used and gets no certificate:
nothing is claimed twice. Each Wh stands in one range of one owner until it is retired, for one claim; or
until it lapses, because the owner has too many. The views keep what became of every range.
Accounting of origin, not a legal guarantee of origin.

Source: EnergyTag Granular Certificate Scheme Standard v2 (issuing, transfer, cancellation).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise

import msgspec

from meshnode.ledger.origin_rows import Certificate
from meshnode.ledger.state import State
from meshnode.ledger.verdicts import Verdict
from meshnode.origin import Lot
from protocols.records import CertificateRetire, CertificateTransfer

# Three weeks of daylight quarter-hours of one plant. The oldest beyond it lapse.
MAX_RANGES_PER_ACCOUNT = 1024
# A day of quarter-hours in one step, and a block of steps is still executed within seconds.
MAX_RANGES_PER_STEP = 96

Key = tuple[bytes, int, bytes, int]


class Change(enum.IntEnum):
    """What becomes of certificates. Codes are stored."""

    ISSUED = 0
    TRANSFERRED = 1
    RETIRED = 2
    LAPSED = 3


class CertificatesMoved(msgspec.Struct, frozen=True):
    """Ranges of certificates were issued, passed on, retired, or lapsed.

    ranges: (period, issuance, first Wh, what it is). taker: empty but for transfers. purpose: of a retirement.
    """

    change: int
    owner: bytes
    ranges: tuple[tuple[int, bytes, int, Certificate], ...]
    taker: bytes = b""
    purpose: str = ""

    @property
    def wh(self) -> int:
        """How much that is."""
        return sum(row.wh for *_, row in self.ranges)


def issue(state: State, owner: bytes, carrier: int, lots: Iterable[Lot]) -> tuple[CertificatesMoved, ...]:
    """Certify what left the community; what is beyond the owner's bound afterwards lapses, the oldest first."""
    ranges = []
    for lot in lots:
        row = Certificate(lot.device, lot.producer, carrier, lot.source, lot.carbon_g_kwh, lot.wh, lot.storage)
        state.certificates.put((owner, lot.period_s, lot.issuance, lot.first), row)
        ranges.append((lot.period_s, lot.issuance, lot.first, row))
    moved = [CertificatesMoved(Change.ISSUED, owner, tuple(ranges))] if ranges else []
    lapsed = list(islice(of(state, owner), max(0, held(state, owner) - MAX_RANGES_PER_ACCOUNT)))
    for key, _ in lapsed:
        state.certificates.delete(key)
    if lapsed:
        moved.append(CertificatesMoved(Change.LAPSED, owner, tuple((*key[1:], row) for key, row in lapsed)))
    return tuple(moved)


def transfer(state: State, step: CertificateTransfer, account: bytes) -> Verdict | CertificatesMoved:
    """Certificates go to another member, the oldest first; all of them or none."""
    receiver = state.accounts.get(step.to)
    if receiver is None or receiver.left_s:
        return Verdict.UNKNOWN_ACCOUNT
    if step.to == account:
        return Verdict.SAME_ACCOUNT
    chosen = _chosen(state, account, step.wh, step.source)
    if isinstance(chosen, Verdict):
        return chosen
    if held(state, step.to) + len(chosen) > MAX_RANGES_PER_ACCOUNT:
        return Verdict.TOO_MANY_CERTIFICATES
    ranges = _cut(state, account, chosen)
    for period_s, issuance, first, row in ranges:
        state.certificates.put((step.to, period_s, issuance, first), row)
    return CertificatesMoved(Change.TRANSFERRED, account, ranges, taker=step.to)


def retire(state: State, step: CertificateRetire, account: bytes) -> Verdict | CertificatesMoved:
    """Certificates are used for a claim, the oldest first; all of them or none."""
    chosen = _chosen(state, account, step.wh, step.source)
    if isinstance(chosen, Verdict):
        return chosen
    return CertificatesMoved(Change.RETIRED, account, _cut(state, account, chosen), purpose=step.purpose or "")


def of(state: State, account: bytes) -> Iterator[tuple[Key, Certificate]]:
    """What a member has, the oldest first."""
    return state.certificates.range(*_all_of(account))


def held(state: State, account: bytes) -> int:
    """How many ranges a member has."""
    return state.certificates.count(*_all_of(account))


def check(state: State) -> None:
    """No Wh stands in two ranges, whoever has them.

    Raises:
        AssertionError: our bug, never a peer's.
    """
    ranges = sorted((issuance, first, row.wh) for (_, _, issuance, first), row in state.certificates.items())
    for (issuance, first, wh), (other, later, _) in pairwise(ranges):
        assert wh > 0 and (issuance != other or first + wh <= later), f"Wh {later} of {issuance.hex()} stands twice"


def _all_of(account: bytes) -> tuple[Key, Key]:
    return (account, 0, b"", 0), (account + b"\0", 0, b"", 0)


def _chosen(state: State, account: bytes, wh: int, source: int | None) -> list[tuple[Key, Certificate, int]] | Verdict:
    """The oldest ranges that together have so many Wh, each with how many of it."""
    chosen: list[tuple[Key, Certificate, int]] = []
    for key, row in of(state, account):
        if source is None or row.source == source:
            if len(chosen) == MAX_RANGES_PER_STEP:
                return Verdict.TOO_MANY_CERTIFICATES
            chosen.append((key, row, min(wh, row.wh)))
            wh -= chosen[-1][2]
            if not wh:
                return chosen
    return Verdict.NOT_CERTIFIED


def _cut(
    state: State, account: bytes, chosen: list[tuple[Key, Certificate, int]]
) -> tuple[tuple[int, bytes, int, Certificate], ...]:
    """Take ranges from their owner, who keeps the rest of the last one."""
    ranges = []
    for key, row, wh in chosen:
        _, period_s, issuance, first = key
        state.certificates.delete(key)
        if row.wh > wh:
            rest = msgspec.structs.replace(row, wh=row.wh - wh)
            state.certificates.put((account, period_s, issuance, first + wh), rest)
        ranges.append((period_s, issuance, first, msgspec.structs.replace(row, wh=wh)))
    return tuple(ranges)
