"""Fate: what became of a record, as a client learns it that writes through any node.

Whoever hands in a record gets one answer: final with a receipt, refused with a reason, or unknown.
Asking again with the record id settles what is unknown, at any node; once the ledger has passed the
end of the record's validity the answer is "never" at the latest. See `meshnode.web.backend.Outcome`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from meshnode.client import ClientError, NodeClient

FINAL: Final = "final"
REFUSED: Final = "refused"
NEVER: Final = "never"
UNKNOWN: Final = "unknown"

ACCEPTED: Final = "ACCEPTED"
# HTTP's numbers for what no node will ever take, and what this one does not take now.
_REFUSED: Final = 409
_NOT_NOW: Final = 503
_NO_ANSWER: Final = "the node gave no answer; ask again with the record's id"


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a record.

    Attributes:
        status: one of the names above.
        height, verdict, sentence: of a final record what the ledger says; else why.
        receipt: of a final record, in hex: proves offline what it says.
        lasting: of a refused record: no node will ever take it. Else the asked one has not taken it, and
            it may be handed in again.
    """

    status: str
    record_id: str
    height: int = 0
    verdict: str = ""
    sentence: str = ""
    receipt: str = ""
    lasting: bool = True

    @property
    def accepted(self) -> bool | None:
        """Whether it took effect; None as long as nobody knows."""
        if self.status == FINAL:
            return self.verdict == ACCEPTED
        return None if self.status == UNKNOWN else False


async def ask(
    node: NodeClient,
    record_id: str,
    *,
    wait_s: int | None = None,
    fresh_s: int | None = None,
    valid_until_s: int | None = None,
    deadline_s: float | None = None,
) -> Fate:
    """What a node knows of a record.

    Args:
        wait_s: how long the node may wait for it to become final.
        fresh_s: how long it may take to confirm that it knows the newest; None: what it knows will do.
        valid_until_s: of the record, if known; then every node says "never" in the end.
    Raises:
        ClientError: the node gives no answer.
    """
    asked = {"wait": wait_s, "fresh": fresh_s, "valid_until_s": valid_until_s}
    return msgspec.convert(await node.get(f"/api/records/{record_id}", deadline_s=deadline_s, **asked), Fate)


async def hand_in(
    node: NodeClient,
    envelope: bytes,
    record_id: str,
    *,
    wait_s: int | None = None,
    elsewhere: bool = False,
    valid_until_s: int | None = None,
    deadline_s: float | None = None,
) -> Fate:
    """Hand in a record that was signed here; it may be handed in again, at any node, with the same bytes.

    Args:
        elsewhere: it was handed in before and is not settled: that this node does not take it says nothing then.
    Raises:
        ClientError: nothing was sent: there is no node, or the request is wrong (status 400 to 499).
    """
    try:
        await node.post("/api/records", envelope, deadline_s=deadline_s)
        return await ask(node, record_id, wait_s=wait_s, valid_until_s=valid_until_s, deadline_s=deadline_s)
    except ClientError as error:
        return _of_error(error, record_id, elsewhere=elsewhere)


def _of_error(error: ClientError, record_id: str, *, elsewhere: bool) -> Fate:
    """What an error says of the record that it was about. Raises it if nothing was sent."""
    if error.status == _REFUSED or (error.status == _NOT_NOW and not elsewhere):
        why = "; ".join(fault["found"] for fault in error.answer["errors"])
        return Fate(status=REFUSED, record_id=record_id, sentence=why, lasting=error.status == _REFUSED)
    if error.in_doubt or error.status >= 500:
        return Fate(status=UNKNOWN, record_id=record_id, sentence=_NO_ANSWER)
    raise error
