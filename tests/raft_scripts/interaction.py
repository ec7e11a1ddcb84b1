"""Interactions: scripts that run whole nodes on a network that delivers only when told to."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from protocols.raft import (
    NO_LIMIT,
    Config,
    HardState,
    MembershipChange,
    MembershipState,
    Message,
    MessageKind,
    ProposalDropped,
    Snapshot,
    Transition,
    parse_changes,
)
from protocols.raft.errors import Fault
from protocols.raft.messages import STORAGE_KINDS
from tests.raft_scripts.datadriven import Case, ScriptError, parse_directive
from tests.raft_scripts.describe import describe_entries, describe_message, describe_ready
from tests.raft_scripts.host import LEVELS, Host, Transcript

SCRIPT_PROFILE = Config(
    id=1,
    election_tick=3,
    heartbeat_tick=1,
    pre_vote=False,
    check_quorum=False,
    max_size_per_msg=NO_LIMIT,
    max_inflight_msgs=2**31 - 1,
    max_uncommitted_entries_size=NO_LIMIT,
    max_committed_size_per_ready=NO_LIMIT,
    step_down_on_removal=False,
    own_term_first=False,
    replace_refused_changes=True,
    early_vote_requests=True,
    refusals_tell_commit=False,
)
"""What the scripts were written for: etcd's defaults, with limits that never bite."""

# What a script prints where a message or a proposal is refused.
_REFUSED = {
    Fault.UNKNOWN_SENDER: "raft: cannot step as peer not found",
    Fault.LOCAL: "raft: cannot step raft local message",
    Fault.DROPPED: "raft proposal dropped",
}


class Interaction:
    """Runs the commands of one script."""

    def __init__(self) -> None:
        self._out = Transcript()
        self._hosts: list[Host] = []
        self._network: list[Message] = []

    def run(self, case: Case) -> str:
        """Do one command, and those on the lines below it, and return what they printed."""
        self._out.take()
        self._do(case)
        if case.command != "propose-conf-change":  # whose input is its own
            for line in case.input.splitlines():
                command, words, options = parse_directive(line)
                self._do(msgspec.structs.replace(case, command=command, words=words, options=options))
        text = self._out.take()
        if not text:
            return "ok\n"
        return text if text.endswith("\n") else text + "\n"

    def _do(self, case: Case) -> None:
        command = _COMMANDS.get(case.command)
        if command is None:
            raise ScriptError(f"unknown command {case.command}")
        try:
            command(self, case)
        except ProposalDropped:
            self._out.write(_REFUSED[Fault.DROPPED] + "\n")

    # Setting up.

    def log_level(self, case: Case) -> None:
        """log-level debug|info|warn|error|fatal|none"""
        self._set_level(case.words[0])

    def _set_level(self, name: str) -> None:
        if name.lower() not in LEVELS:
            raise ScriptError(f"log level {name}, expected one of {', '.join(LEVELS)}")
        self._out.level = LEVELS.index(name.lower())

    def add_nodes(self, case: Case) -> None:
        """add-nodes N voters=(...) learners=(...) index=I content=TEXT and settings"""
        settings = {}
        for key, values in case.options.items():
            if key in _SETTINGS:
                name, convert = _SETTINGS[key]
                settings[name] = convert(values[0])
            elif key not in ("voters", "learners", "index", "content"):
                raise ScriptError(f"unknown setting {key}")
        index = int(case.option("index", "0"))
        content = case.option("content").encode()
        members = MembershipState(voters=case.numbers("voters"), learners=case.numbers("learners"))
        start = Snapshot()
        if index or content or members != MembershipState():
            if index <= 1:
                raise ScriptError("index must be specified as > 1 due to bootstrap")
            start = Snapshot(index, 1, members, content)
        for _ in range(int(case.words[0])):
            config = msgspec.structs.replace(SCRIPT_PROFILE, id=len(self._hosts) + 1, **settings)
            self._hosts.append(Host(config, start, self._out))

    def set_randomized_election_timeout(self, case: Case) -> None:
        """set-randomized-election-timeout NODE timeout=TICKS"""
        # Chance decides this in a node; a script decides it by reaching in.
        self._host(case).node._replica.election_timeout = int(case.option("timeout"))

    # Wishes.

    def campaign(self, case: Case) -> None:
        """campaign NODE"""
        self._host(case).node.campaign()

    def propose(self, case: Case) -> None:
        """propose NODE DATA"""
        self._host(case).node.propose(case.words[1].encode())

    def propose_conf_change(self, case: Case) -> None:
        """propose-conf-change NODE v1=BOOL transition=auto|implicit|explicit, then changes as v1 l2 r3"""
        transition = Transition(case.option("transition", "auto"))
        if case.flag("v1"):
            transition = Transition.SINGLE
        changes = parse_changes(case.input.split())
        if transition is Transition.SINGLE and len(changes) != 1:
            raise ScriptError("v1 conf change can only have one operation and no transition")
        self._host(case).node.propose_membership(MembershipChange(changes, transition))

    def transfer_leadership(self, case: Case) -> None:
        """transfer-leadership from=NODE to=NODE"""
        self._hosts[int(case.option("from")) - 1].node.transfer_leadership(int(case.option("to")))

    def forget_leader(self, case: Case) -> None:
        """forget-leader NODE"""
        self._host(case).node.forget_leader()

    def report_unreachable(self, case: Case) -> None:
        """report-unreachable NODE TARGET"""
        self._host(case).node.report_unreachable(int(case.words[1]))

    def send_snapshot(self, case: Case) -> None:
        """send-snapshot FROM TO"""
        host, to = self._host(case), int(case.words[1])
        message = Message(
            kind=MessageKind.SNAP,
            sender=host.node.id,
            to=to,
            term=host.node.term,
            snapshot=host.storage.snapshot(),
            epoch=host.node.progress[to].epoch,
        )
        self._network.append(message)
        self._out.write(describe_message(message))

    def tick_election(self, case: Case) -> None:
        """tick-election NODE"""
        host = self._host(case)
        self._tick(host, host.config.election_tick)

    def tick_heartbeat(self, case: Case) -> None:
        """tick-heartbeat NODE"""
        host = self._host(case)
        self._tick(host, host.config.heartbeat_tick)

    def _tick(self, host: Host, count: int) -> None:
        for _ in range(count):
            host.node.tick()

    def compact(self, case: Case) -> None:
        """compact NODE INDEX"""
        self._host(case).storage.compact(int(case.words[1]))
        self.raft_log(case)

    # Work.

    def process_ready(self, case: Case) -> None:
        """process-ready NODE..."""
        self._each(case, "handling Ready", self._process_ready)

    def process_append_thread(self, case: Case) -> None:
        """process-append-thread NODE..."""
        self._each(case, "processing append thread", self._process_append)

    def process_apply_thread(self, case: Case) -> None:
        """process-apply-thread NODE..."""
        self._each(case, "processing apply thread", self._process_apply)

    def _each(self, case: Case, title: str, work: Callable[[Host], None]) -> None:
        hosts = self._chosen(case)
        for host in hosts:
            if len(hosts) == 1:
                work(host)
            else:
                self._titled(host, title, work)

    def _titled(self, host: Host, title: str, work: Callable[[Host], None]) -> None:
        self._out.write(f"> {host.node.id} {title}\n")
        with self._out.indented():
            work(host)

    def _process_ready(self, host: Host) -> None:
        ready = host.node.ready()
        asynchronous = host.config.async_storage_writes
        self._out.write(describe_ready(ready))
        if not asynchronous:
            host.write(ready.hard_state, ready.entries, ready.snapshot)
            host.apply(ready.committed_entries)
        for message in (*ready.messages, *ready.messages_after_persist):
            if message.kind is MessageKind.STORAGE_APPEND:
                host.append_work.append(message)
            elif message.kind is MessageKind.STORAGE_APPLY:
                host.apply_work.append(message)
            else:
                self._network.append(message)
        if not asynchronous:
            host.node.advance(ready)

    def _process_append(self, host: Host) -> None:
        if not host.append_work:
            self._out.write("no append work to perform")
            return
        order = host.append_work.pop(0)
        self._announce(order)
        host.write(HardState(order.term, order.vote, order.commit), order.entries, order.snapshot)
        self._respond(order)

    def _process_apply(self, host: Host) -> None:
        if not host.apply_work:
            self._out.write("no apply work to perform")
            return
        order = host.apply_work.pop(0)
        self._announce(order)
        host.apply(order.entries)
        self._respond(order)

    def _announce(self, order: Message) -> None:
        shown = describe_message(msgspec.structs.replace(order, responses=()))
        self._out.write(f"Processing:\n{shown}\n")

    def _respond(self, order: Message) -> None:
        self._out.write("Responses:\n")
        for response in order.responses:
            self._out.write(describe_message(response) + "\n")
        self._network.extend(order.responses)

    def deliver_msgs(self, case: Case) -> None:
        """deliver-msgs NODE... drop=(NODE...) type=KIND"""
        kind = case.option("type") or None
        count = sum(self._deliver(int(word), kind) for word in case.words)
        count += sum(self._deliver(node, kind, drop=True) for node in case.numbers("drop"))
        if not count:
            self._out.write("no messages\n")

    def _deliver(self, node: int, kind: str | None = None, *, drop: bool = False) -> int:
        mine = [message for message in self._network if self._goes(message, node, kind, drop)]
        self._network = [message for message in self._network if not self._goes(message, node, kind, drop)]
        for message in mine:
            self._out.write(("dropped: " if drop else "") + describe_message(message) + "\n")
            if not drop:
                self._step(self._hosts[node - 1], message)
        return len(mine)

    def _goes(self, message: Message, node: int, kind: str | None, drop: bool) -> bool:
        # What a node says to its own storage, or to itself, never gets lost.
        lost = drop and _is_local(message)
        return message.to == node and not lost and kind in (None, str(message.kind))

    def _step(self, host: Host, message: Message) -> None:
        if _is_local(message):
            host.node.step_local(message)
            return
        refused = host.node.step(message)
        if refused is not None:
            self._out.write(_REFUSED.get(refused.fault, str(refused)) + "\n")

    def stabilize(self, case: Case) -> None:
        """stabilize NODE... log-level=LEVEL"""
        level = self._out.level
        if "log-level" in case.options:
            self._set_level(case.option("log-level"))
        hosts = self._chosen(case) if case.words else list(self._hosts)
        while self._round(hosts):
            pass
        self._out.level = level

    def _round(self, hosts: list[Host]) -> bool:
        """Let every host do what it can; False if there was nothing to do."""
        worked = False
        for host in hosts:
            if host.node.has_ready():
                worked = True
                self._titled(host, "handling Ready", self._process_ready)
        for host in hosts:
            if any(message.to == host.node.id for message in self._network):
                worked = True
                self._titled(host, "receiving messages", self._receive)
        for host in hosts:
            if host.append_work:
                worked = True
                self._titled(host, "processing append thread", self._process_all_appends)
        for host in hosts:
            if host.apply_work:
                worked = True
                self._titled(host, "processing apply thread", self._process_all_applies)
        return worked

    def _receive(self, host: Host) -> None:
        self._deliver(host.node.id)

    def _process_all_appends(self, host: Host) -> None:
        while host.append_work:
            self._process_append(host)

    def _process_all_applies(self, host: Host) -> None:
        while host.apply_work:
            self._process_apply(host)

    # Looking.

    def raft_log(self, case: Case) -> None:
        """raft-log NODE"""
        storage = self._host(case).storage
        first, last = storage.first_index(), storage.last_index()
        if last < first:
            self._out.write(f"log is empty: first index={first}, last index={last}")
        else:
            self._out.write(describe_entries(storage.entries(first, last + 1, NO_LIMIT)))

    def raft_state(self, case: Case) -> None:
        """raft-state"""
        for host in self._hosts:
            node = host.node
            voter = "Voter" if node.id in node.voters else "Non-Voter"
            self._out.write(f"{node.id}: {node.state} ({voter}) Term:{node.term} Lead:{node.leader}\n")

    def status(self, case: Case) -> None:
        """status NODE"""
        for node, progress in self._host(case).node.progress.items():
            self._out.write(f"{node}: {progress}\n")

    def _host(self, case: Case) -> Host:
        return self._hosts[int(case.words[0]) - 1]

    def _chosen(self, case: Case) -> list[Host]:
        return [self._hosts[int(word) - 1] for word in case.words]


def _is_local(message: Message) -> bool:
    return message.sender == message.to or message.kind in STORAGE_KINDS


def _true(text: str) -> bool:
    return text == "true"


def _lease(text: str) -> bool:
    if text not in ("safe", "lease-based"):
        raise ScriptError(f"read-only={text}, expected safe or lease-based")
    return text == "lease-based"


_SETTINGS: dict[str, tuple[str, Callable[[str], int | bool]]] = {
    "heartbeat-tick": ("heartbeat_tick", int),
    "election-tick": ("election_tick", int),
    "inflight": ("max_inflight_msgs", int),
    "prevote": ("pre_vote", _true),
    "checkquorum": ("check_quorum", _true),
    "async-storage-writes": ("async_storage_writes", _true),
    "max-committed-size-per-ready": ("max_committed_size_per_ready", int),
    "disable-conf-change-validation": ("disable_conf_change_validation", _true),
    "step-down-on-removal": ("step_down_on_removal", _true),
    "read-only": ("read_only_lease_based", _lease),
}

_COMMANDS: dict[str, Callable[[Interaction, Case], None]] = {
    "add-nodes": Interaction.add_nodes,
    "campaign": Interaction.campaign,
    "compact": Interaction.compact,
    "deliver-msgs": Interaction.deliver_msgs,
    "forget-leader": Interaction.forget_leader,
    "log-level": Interaction.log_level,
    "process-append-thread": Interaction.process_append_thread,
    "process-apply-thread": Interaction.process_apply_thread,
    "process-ready": Interaction.process_ready,
    "propose": Interaction.propose,
    "propose-conf-change": Interaction.propose_conf_change,
    "raft-log": Interaction.raft_log,
    "raft-state": Interaction.raft_state,
    "report-unreachable": Interaction.report_unreachable,
    "send-snapshot": Interaction.send_snapshot,
    "set-randomized-election-timeout": Interaction.set_randomized_election_timeout,
    "stabilize": Interaction.stabilize,
    "status": Interaction.status,
    "tick-election": Interaction.tick_election,
    "tick-heartbeat": Interaction.tick_heartbeat,
    "transfer-leadership": Interaction.transfer_leadership,
}
