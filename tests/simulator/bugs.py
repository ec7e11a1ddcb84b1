"""Bugs: what a mutant changes in the product, one rule of consensus at a time."""

from __future__ import annotations

from tests.simulator.bug import Bug, Change
from tests.simulator.electorate_bugs import ELECTORATE_BUGS


def _byzantine(name: str, function: str, old: str, new: str, *, needs: str = "") -> Bug:
    return Bug(name, (Change(function, old, new),), (needs,) if needs else (), mode="byzantine")


def _bug(name: str, function: str, old: str, new: str, *, needs: str = "") -> Bug:
    return Bug(name, (Change(function, old, new),), (needs,) if needs else ())


_VALIDATOR = "meshnode.network.validator:Validator"
_INTAKE = "meshnode.network.intake:Intake"
_FINALITY = "protocols.finality:Finality"
_REPLICA = "protocols.raft.replica:Replica"
_LOG = "protocols.raft.log:Log"
_LOCKING = "meshnode.network.locking:Locking"

BUGS: tuple[Bug, ...] = (
    # What must be on disk before it is said.
    _bug("skipped fsync", "tests.simulator.disk:Disk.sync", "self._unsynced.clear()", "pass", needs="crash"),
    _bug(
        "signed before it is written",
        "tests.simulator.node:Node.write",
        "self._writing = True",
        "self._writing = True; self._post(self.validator.persisted() if self.validator else ())",
    ),
    _bug(
        "hard state not saved",
        f"{_VALIDATOR}.poll",
        "None if hard is None else HardState(hard.term, hard.vote, hard.commit)",
        "None",
    ),
    _bug("vote not saved", f"{_VALIDATOR}.poll", "hard.term, hard.vote, hard.commit", "hard.term, 0, hard.commit"),
    _bug("sign state not saved", f"{_VALIDATOR}.poll", "sign_state=sign,", "sign_state=None,"),
    _bug(
        "certificates not saved",
        f"{_VALIDATOR}.poll",
        "for c in certificates if c.height <= self.final_height",
        "for c in ()",
    ),
    # The card.
    Bug(
        "an old image signs at once",
        (
            Change(
                "meshnode.network.licence:decide",
                "for answer in answers.values():",
                "return FREE\n    for answer in answers.values():",
            ),
            # Else it is found out by what comes late, mostly before there is something to sign.
            Change(
                "meshnode.network.recollection:Recollection.take",
                "found = newer(answer, self._known.signed, self._known.term)",
                "found = None",
            ),
        ),
        ("old image",),
    ),
    _bug(
        "the others are not believed",
        "meshnode.network.licence:decide",
        "found = newer(answer, known.signed, known.term)",
        "found = None",
        needs="old image",
    ),
    _bug(
        "reservation not written ahead",
        "meshnode.store.reservation:before_signing",
        "if newest is not None and runs and newest.covers(promised):",
        "if newest is not None and runs:",
    ),
    # Elections.
    Bug(
        "votes twice in a term",
        (
            Change(f"{_REPLICA}._answer_vote_request", "self.vote == message.sender", "True"),
            Change("meshnode.network.pledges:Pledges.allows", "state = self.state", "return True"),
        ),
    ),
    _bug("votes for a shorter log", f"{_LOG}.is_up_to_date", "return (term, index) >= self.last", "return True"),
    _bug(
        "pre-vote ignored",
        f"{_REPLICA}.campaign",
        "pre_vote=self.config.pre_vote and not transfer",
        "pre_vote=False",
    ),
    _bug(
        "late votes counted",
        f"{_REPLICA}.step",
        "elif 0 < message.term < self.term:",
        "elif 0 < message.term < self.term and message.kind is not MessageKind.VOTE_RESP:",
        needs="replayed",
    ),
    _bug(
        "election certificate lost",
        "meshnode.network.proposer:Proposer.seal",
        "if first_of_term:",
        "if False:",
    ),
    Bug(
        "election certificate unchecked",
        (
            Change("protocols.block:check_form", "if block.election is not None:", "if False:"),
            Change(
                "protocols.leadership:check_claim",
                "return check_election(claim.election, key_id_of(leader_key), term, head, quorum, chain_id, verifier)",
                "return None",
            ),
        ),
        ("usurped term",),
    ),
    _bug(
        "votes unchecked",
        "meshnode.network.ballots:Ballots.take",
        "if not envelope.verify(Vote.KIND, self._chain_id, voter_key, self._verifier):",
        "if False:",
        needs="bad signatures",
    ),
    _bug(
        "terms without bound",
        "meshnode.network.terms:bounded",
        "if message.term <= term + MAX_TERM_JUMP or",
        "if True or",
        needs="giant terms",
    ),
    _bug(
        "unproved leaders followed",
        "meshnode.network.leadership:Leadership.admits",
        "return False, fault",
        "return True, None",
        needs="usurped term",
    ),
    # The log.
    _bug(
        "a repeated append cuts the log",
        f"{_LOG}.append_after",
        "if not self._holds(entry):",
        "if entry.index > self.committed:",
    ),
    _bug(
        "log not cut on conflict",
        f"{_LOG}.append_after",
        "if not self._holds(entry):",
        "if entry.index > self.last_index:",
    ),
    _bug(
        "old blocks remembered after a cut",
        "meshnode.network.chain:Chain.keep",
        "if known is None or known.block_hash != block.block_hash:",
        "if False:",
    ),
    Bug(
        "parent unchecked",
        (
            Change("protocols.block:check_belonging", "if head.parent != parent.block_hash:", "if False:"),
            Change(f"{_INTAKE}._may_follow", "return candidate.header.parent == parent.block_hash", "return True"),
        ),
        ("bad blocks",),
    ),
    # Certificates.
    _bug("too few acks certify", f"{_FINALITY}._try_certify", "if not link.quorum.is_quorum(matching):", "if False:"),
    Bug(
        "acks of a later term certify an older block (figure 8)",
        (
            Change(
                f"{_FINALITY}._try_certify",
                "ack_term=link.term, height",
                "ack_term=max([link.term, *(a.ack_term for a, _ in self._acks.get(height, {}).values())]), height",
            ),
            Change(
                "protocols.certificate:check_acks",
                "if certificate.ack_term != block_term:",
                "if False:",
            ),
            Change(
                "meshnode.network.promises:Promises._pledge",
                "silent = self._chain.head(message.index).term != message.term",
                "silent = False",
            ),
        ),
        ("outage", "slow disk"),
        1,
    ),
    _bug(
        "size of certificates unchecked",
        "protocols.certificate:check_acks",
        "if not quorum.is_quorum(key_ids):",
        "if False:",
        needs="false certificates",
    ),
    _bug(
        "signatures of certificates unchecked",
        "protocols.certificate:check_acks",
        "if not Envelope(key_id, payload, signature).verify(Ack.KIND, chain_id, key, verifier):",
        "if False:",
        needs="false certificates",
    ),
    _bug(
        "acks unchecked",
        "meshnode.network.finalizer:Finalizer.take_ack",
        "if not self._finality.verify_ack(key_id, ack, signature, quorum):",
        "if False:",
        needs="bad signatures",
    ),
    _bug(
        "acks of another block counted",
        f"{_FINALITY}._try_certify",
        "if ack == expected and",
        "if ack.height == expected.height and",
        needs="bad signatures",
    ),
    # The gates.
    _bug(
        "time without bound",
        f"{_INTAKE}._checkable",
        "if head.time_s > self._clock() + self._machine.genesis.max_drift_s:",
        "if False:",
        needs="clock",
    ),
    _bug(
        "time may go back",
        "protocols.block:check_header",
        "if head.time_s < parent.time_s:",
        "if False:",
        needs="bad blocks",
    ),
    _bug(
        "another state acknowledged",
        f"{_INTAKE}._may_acknowledge",
        "if ours is not None and ours != head.state_hash:",
        "if False:",
        needs="bad blocks",
    ),
    _bug(
        "silent leaders stay",
        "meshnode.network.patience:Patience.exhausted",
        "return self.resting",
        "return False",
        needs="far clock",
    ),
    # The ledger.
    _bug(
        "a record takes effect in two blocks",
        "meshnode.machine:Machine._execute",
        "if used is not None:",
        "if False:",
        needs="repeated records",
    ),
    _bug(
        "state hash over unsorted rows",
        "meshnode.ledger.tree:_hash",
        "for name in sorted(digests)",
        "for name in digests",
    ),
    _bug(
        "transfers without cover",
        "meshnode.ledger.assets:transfer",
        "if balance(state, account, record.asset).free < record.amount:",
        "if False:",
    ),
    _bug(
        "transfers that make money",
        "meshnode.ledger.assets:transfer",
        "change(state, record.to, record.asset, free=record.amount)",
        "change(state, record.to, record.asset, free=record.amount + 1)",
    ),
    # Two phases, and locks.
    _byzantine(
        "one phase is enough",
        "meshnode.network.promises:Promises._ack",
        "PHASE_PREPARE if self._electorate.is_byzantine_at(height) else PHASE_COMMIT",
        "PHASE_COMMIT",
    ),
    _byzantine(
        "phase ignored in what the others hold",
        "meshnode.network.licence:newer",
        "if ack is not None and ack.phase == PHASE_COMMIT and _is_unbound((ack.ack_term, ack.height), signed):",
        "if False:",
        needs="old image",
    ),
    _byzantine("lock not saved", f"{_VALIDATOR}.poll", "lock=lock,", "lock=None,"),
    Bug(
        "what is prepared counts as final",
        (
            Change(
                "meshnode.network.finalizer:Finalizer.take_certificate",
                "if certificate.phase == PHASE_PREPARE:",
                "if False:",
            ),
            Change("protocols.certificate:check_certificate", "if certificate.phase != PHASE_COMMIT:", "if False:"),
        ),
        mode="byzantine",
    ),
    Bug(
        "elections ignore locks",
        (
            Change(f"{_LOCKING}.may_elect", "if not self.is_on:", "if True:"),
            Change("protocols.certificate:check_election", "if quorum.mode == QUORUM_BYZANTINE:", "if False:"),
            Change(f"{_LOCKING}.outranked_by", "if place_of_tip(named) <= place and not other:", "if True:"),
            Change(f"{_LOCKING}.replacement", "if lock is None or lock.height < first_lost:", "if True:"),
        ),
        needs=("two blocks",),
        mode="byzantine",
    ),
    _byzantine(
        "a quorum of a mere majority",
        "protocols.certificate:quorum_size",
        "return (voters + tolerated + 2) // 2",
        "return voters // 2 + 1",
        needs="twins",
    ),
    _byzantine(
        "any answer begins a term",
        "meshnode.network.wariness:Wariness.hears",
        "if message.kind not in ANSWERS or granted or message.term <= core.term:",
        "if True:",
        needs="endless campaigns",
    ),
    _byzantine(
        "idle leaders stay",
        "meshnode.network.wariness:Wariness.tick",
        "self._give_up()",
        "pass",
        needs="idle leader",
    ),
    *ELECTORATE_BUGS,
)
"""Every bug that the simulator must catch."""
