"""Paper grid: a microgrid on paper behind the interface that the door of a running one has."""

from meshnode.machine import RecordDone
from meshnode.web.backend import Outcome, Refused
from protocols import block as blocks
from protocols import receipt as receipts
from tests.ledger.chain import Chain, account


class PaperGrid:
    """Anna's node: what it takes is in the next block, and final, at once - unless it is told otherwise."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.owner = "anna"
        self.stuck = False
        self.refuses = ""
        self._waiting: list[bytes] = []

    @property
    def machine(self):  # type: ignore[no-untyped-def]
        return self.chain.machine

    @property
    def account(self) -> bytes:
        return account(self.owner)

    def nonce(self) -> int:
        return self.chain.nonce()

    def valid_until_s(self) -> int:
        return self.chain.now_s + 3600

    async def submit_envelope(self, envelope: bytes) -> bytes:
        if self.refuses:
            raise Refused(self.refuses)
        if self.stuck:
            self._waiting.append(envelope)
        else:
            self.take(envelope)
        return blocks.read_record(envelope, self.chain.chain_id).record_id

    def take(self, *envelopes: bytes) -> None:
        """Put envelopes, or else all that wait, into the next block."""
        found = [blocks.read_record(one, self.chain.chain_id) for one in envelopes or self._waiting]
        self._waiting = []
        self.chain.block(*found)

    async def outcome(self, record_id: bytes, wait_s: float) -> Outcome:
        for height, events in self.chain.events.items():
            for event in events:
                if isinstance(event, RecordDone) and event.record_id == record_id:
                    block = self.chain.blocks[height - 1]
                    proof = receipts.encode(receipts.make(block, record_id, (), self.chain.certificates[height]))
                    return Outcome("final", record_id.hex(), height, event.verdict.name, "", proof)
        return Outcome("unknown", record_id.hex(), 0, "", "", b"")
