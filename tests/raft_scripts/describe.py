"""Descriptions: messages, entries and bundles of work in the words of the scripts."""

from __future__ import annotations

from collections.abc import Iterable

from protocols.raft import (
    ChangeKind,
    Entry,
    EntryType,
    HardState,
    MembershipChange,
    MembershipState,
    Message,
    Ready,
    Snapshot,
    SoftState,
    Transition,
    decode_change,
)
from protocols.raft.messages import STORAGE_APPEND_TARGET, STORAGE_APPLY_TARGET

_ENTRY_TYPE = {
    EntryType.NORMAL: "EntryNormal",
    EntryType.SINGLE_CHANGE: "EntryConfChange",
    EntryType.CHANGE: "EntryConfChangeV2",
}
_TARGET = {STORAGE_APPEND_TARGET: "AppendThread", STORAGE_APPLY_TARGET: "ApplyThread", 0: "None"}
_CHANGE = {
    ChangeKind.VOTER: "ConfChangeAddNode",
    ChangeKind.LEARNER: "ConfChangeAddLearnerNode",
    ChangeKind.REMOVE: "ConfChangeRemoveNode",
    ChangeKind.UPDATE: "ConfChangeUpdateNode",
}
_TRANSITION = {
    Transition.AUTO: "ConfChangeTransitionAuto",
    Transition.IMPLICIT: "ConfChangeTransitionJointImplicit",
    Transition.EXPLICIT: "ConfChangeTransitionJointExplicit",
}
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b"}


def describe_ready(ready: Ready) -> str:
    """Everything in a Ready, or `<empty Ready>`."""
    messages = (*ready.messages, *ready.messages_after_persist)
    sections: list[str] = []
    if ready.soft_state is not None:
        sections.append(_soft_state(ready.soft_state))
    if ready.hard_state is not None and ready.hard_state != HardState():
        sections.append(_hard_state(ready.hard_state))
    if ready.read_states:
        reads = " ".join(f"{{{read.index} {_list(read.context)}}}" for read in ready.read_states)
        sections.append(f"ReadStates [{reads}]\n")
    if ready.entries:
        sections.append("Entries:\n" + describe_entries(ready.entries))
    if ready.snapshot is not None:
        sections.append(f"Snapshot {_snapshot(ready.snapshot)}\n")
    if ready.committed_entries:
        sections.append("CommittedEntries:\n" + describe_entries(ready.committed_entries))
    if messages:
        sections.append("Messages:\n" + "".join(describe_message(message) + "\n" for message in messages))
    if not sections:
        return "<empty Ready>\n"
    return f"Ready MustSync={str(ready.must_sync).lower()}:\n" + "".join(sections)


def describe_message(message: Message, indent: str = "") -> str:
    """One message, over several lines if it carries several entries or responses; no newline at the end."""
    text = f"{indent}{_target(message.sender)}->{_target(message.to)} {message.kind}"
    text += f" Term:{message.term} Log:{message.log_term}/{message.index}"
    if message.reject:
        text += f" Rejected (Hint: {message.reject_hint})"
    if message.commit:
        text += f" Commit:{message.commit}"
    if message.vote:
        text += f" Vote:{message.vote}"
    if len(message.entries) == 1:
        text += f" Entries:[{describe_entry(message.entries[0])}]"
    elif message.entries:
        text += " Entries:["
        text += "".join(f"\n{indent}  {describe_entry(entry)}" for entry in message.entries)
        text += f"\n{indent}]"
    if message.snapshot is not None:
        text += f"\n{indent}  Snapshot: {_snapshot(message.snapshot)}"
    if message.responses:
        text += " Responses:["
        text += "".join("\n" + describe_message(response, indent + "  ") for response in message.responses)
        text += f"\n{indent}]"
    return text


def describe_entries(entries: Iterable[Entry]) -> str:
    """One entry per line."""
    return "".join(describe_entry(entry) + "\n" for entry in entries)


def describe_entry(entry: Entry) -> str:
    """term/index, type and data."""
    if entry.type is EntryType.NORMAL:
        data = " " + quoted(entry.data)
    else:
        changes = decode_change(entry.type, entry.data).changes
        data = "".join(f" {change}" for change in changes)
    return f"{entry.term}/{entry.index} {_ENTRY_TYPE[entry.type]}{data}"


def quoted(data: bytes) -> str:
    """Bytes in double quotes, with the escapes of the C family."""
    text = ""
    for character in data.decode("utf-8", errors="surrogateescape"):
        if character in _ESCAPES:
            text += _ESCAPES[character]
        elif character.isprintable():
            text += character
        else:
            text += f"\\x{ord(character) & 0xFF:02x}"
    return f'"{text}"'


def describe_argument(value: object) -> object:
    """What a logger is given, in the scripts' words where they differ from ours."""
    if isinstance(value, MembershipChange):
        changes = [f"{_CHANGE[change.kind]} {change.node}" for change in value.changes]
        if value.transition is Transition.SINGLE:
            return f"{{{changes[0]} [] 0}}"
        named = " ".join(f"{{{change}}}" for change in changes)
        return f"{{{_TRANSITION[value.transition]} [{named}] []}}"
    return value


def _soft_state(state: SoftState) -> str:
    return f"Lead:{state.leader} State:{state.role}\n"


def _hard_state(state: HardState) -> str:
    vote = f" Vote:{state.vote}" if state.vote else ""
    return f"HardState Term:{state.term}{vote} Commit:{state.commit}\n"


def _snapshot(snapshot: Snapshot) -> str:
    return f"Index:{snapshot.index} Term:{snapshot.term} ConfState:{_membership(snapshot.membership)}"


def _membership(state: MembershipState) -> str:
    parts = {
        "Voters": _list(state.voters),
        "VotersOutgoing": _list(state.voters_outgoing),
        "Learners": _list(state.learners),
        "LearnersNext": _list(state.learners_next),
        "AutoLeave": str(state.auto_leave).lower(),
    }
    return " ".join(f"{name}:{value}" for name, value in parts.items())


def _list(values: Iterable[int]) -> str:
    return "[" + " ".join(map(str, values)) + "]"


def _target(node: int) -> str:
    return _TARGET.get(node, f"{node:x}")
