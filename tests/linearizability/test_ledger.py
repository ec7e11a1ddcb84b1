"""Small stories of records that are written and asked for through several nodes."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from tests.linearizability.checker import Verdict, check
from tests.linearizability.history import History, HistoryError, Operation
from tests.linearizability.imagined import (
    LATEST,
    ImaginedLedger,
    ask_all_of_ledger,
    ask_ledger,
    imagine,
    write_of,
)
from tests.linearizability.ledger import (
    LEDGER,
    Absent,
    Final,
    Place,
    ReadBalance,
    ReadCount,
    ReadRecord,
    Refused,
    Value,
    WriteRecord,
)

# (client, input, call, return or None, output)
Told = tuple[str, Any, int, int | None, Any]


def history(*told: Told) -> History:
    return History(tuple(Operation(client, call, returned, asked, out) for client, asked, call, returned, out in told))


def wrote(record: str, fate: Final | Refused, call: int, returned: int) -> Told:
    return ("writer", WriteRecord(record), call, returned, fate)


def lost(record: str, call: int) -> Told:
    return ("writer", WriteRecord(record), call, None, None)


def read(record: str, seen: Final | Refused | Absent, call: int, returned: int) -> Told:
    return ("reader", ReadRecord(record), call, returned, seen)


def paid(record: str, amount: int, call: int, returned: int | None) -> Told:
    moves = (("anna", -amount), ("bela", amount))
    return ("anna", WriteRecord(record, moves), call, returned, None if returned is None else Final())


def balance(account: str, value: int, call: int, returned: int, height: int | None = None) -> Told:
    return ("reader", ReadBalance(account), call, returned, Value(value, height))


def count(value: int, call: int, returned: int, height: int | None = None) -> Told:
    return ("reader", ReadCount(), call, returned, Value(value, height))


def final(height: int, position: int = 0, at: int | None = None) -> Final:
    return Final((height, position), at)


LINEARIZABLE: dict[str, tuple[Told, ...]] = {
    "written and found": (wrote("r", Final(), 0, 1), read("r", Final(), 2, 3)),
    "absent until written": (read("r", Absent(), 0, 1), wrote("r", Final(), 2, 3)),
    "refused and absent": (wrote("r", Refused(), 0, 1), read("r", Absent(), 2, 3)),
    "refused on the ledger": (wrote("r", Refused((4, 0)), 0, 1), read("r", Refused((4, 0)), 2, 3)),
    "a node refuses, and only it knows": (
        *(lost("r", 0), read("r", Refused(), 1, 2)),
        *(read("r", Absent(), 3, 4),),
    ),
    "unknown, and never heard of again": (lost("r", 0), read("r", Absent(), 1, 2), read("r", Absent(), 9, 10)),
    "unknown, and final later": (lost("r", 0), read("r", Absent(), 1, 2), read("r", final(7), 3, 4)),
    "unknown, asked again, and settled": (
        *(lost("r", 0), wrote("r", final(3), 5, 6)),
        *(wrote("r", final(3), 7, 8), count(1, 9, 10)),
    ),
    "unknown, asked again, and refused": (lost("r", 0), wrote("r", Refused(), 5, 6), wrote("r", Refused(), 7, 8)),
    "two nodes take the same record": (wrote("r", final(3), 0, 9), wrote("r", final(3), 1, 8), count(1, 10, 11)),
    "blocks of several records": (
        *(wrote("r", final(3, 0), 0, 9), wrote("s", final(3, 1), 0, 9)),
        *(wrote("t", final(5, 0), 10, 11), read("s", final(3, 1, at=5), 12, 13)),
    ),
    "a read during a write at the height before": (wrote("r", final(3), 0, 9), read("r", Absent(2), 1, 8)),
    "others' blocks raise the height": (read("r", Absent(2), 0, 1), wrote("r", final(9), 2, 3)),
    "heights of reads that overlap": (read("r", Absent(5), 0, 9), read("s", Absent(3), 0, 9)),
    "a lost record enters between two others": (
        *(lost("s", 0), wrote("r", final(3), 1, 2), wrote("t", final(5), 3, 4)),
        *(read("s", final(4), 5, 6),),
    ),
    "a lost payment is seen by its balances": (
        *(paid("r", 5, 0, None), balance("anna", 0, 1, 2)),
        *(balance("bela", 5, 3, 4), balance("anna", -5, 5, 6)),
    ),
    "some of three lost records are counted": (
        *(lost("r", 0), lost("s", 0), lost("t", 0)),
        *(count(0, 1, 2), count(2, 3, 4), read("s", Absent(), 5, 6)),
    ),
    "one payment or the other": (paid("r", 5, 0, None), paid("s", 7, 0, None), balance("anna", -7, 1, 2)),
}

NOT_LINEARIZABLE: dict[str, tuple[Told, ...]] = {
    "an acknowledged record is lost": (wrote("r", Final(), 0, 1), read("r", Absent(), 2, 3)),
    "an acknowledged record is lost after it was found": (
        *(wrote("r", Final(), 0, 1), read("r", Final(), 2, 3)),
        *(read("r", Absent(), 4, 5),),
    ),
    "a stale node": (wrote("r", final(3), 0, 1), read("r", Absent(2), 2, 3)),
    "a stale node whose answer looks right": (read("r", Absent(5), 0, 1), read("r", Absent(4), 2, 3)),
    "a record that nobody wrote": (read("r", Final(), 0, 1),),
    "a record that was written later": (read("r", Final(), 0, 1), lost("r", 2)),
    "final, then refused": (wrote("r", Final(), 0, 1), wrote("r", Refused(), 2, 3)),
    "refused, then final": (wrote("r", Refused(), 0, 1), wrote("r", Final(), 2, 3)),
    "refused for one and final for another at the same time": (
        *(wrote("r", Refused(), 0, 9), wrote("r", Final(), 0, 9)),
    ),
    "unknown, refused when asked again, and final all the same": (
        *(lost("r", 0), wrote("r", Refused(), 1, 2)),
        *(read("r", final(9), 3, 4),),
    ),
    "refused on the ledger and absent": (wrote("r", Refused((4, 0)), 0, 1), read("r", Absent(), 2, 3)),
    "twice on the ledger": (wrote("r", final(3), 0, 9), wrote("r", final(4), 0, 9)),
    "found at another place": (wrote("r", final(3), 0, 1), read("r", final(3, 1), 2, 3)),
    "counted twice": (lost("r", 0), wrote("r", final(3), 1, 2), count(2, 3, 4)),
    "paid twice": (paid("r", 5, 0, 1), balance("anna", -10, 2, 3)),
    "half a payment": (
        *(paid("r", 5, 0, None), balance("anna", -5, 1, 2)),
        *(balance("bela", 0, 3, 4),),
    ),
    "two records at one place": (wrote("r", final(3), 0, 9), wrote("s", final(3), 0, 9)),
    "a place below one that was told": (wrote("r", final(3), 0, 1), wrote("s", final(2), 2, 3)),
    "a place below a height that was read": (read("s", Absent(4), 0, 1), wrote("r", final(4), 2, 3)),
    "seen at a height below its place": (lost("r", 0), read("r", final(5, at=4), 1, 2)),
    "heights fall": (read("r", Absent(5), 0, 1), read("s", Absent(3), 2, 3)),
    "two readers see two records in both orders": (
        *(wrote("r", Final(), 0, 20), wrote("s", Final(), 0, 20), count(0, 0, 1)),
        *(read("r", Final(), 2, 3), read("s", Absent(), 4, 5)),
        *(read("s", Final(), 2, 3), read("r", Absent(), 4, 5)),
    ),
    "a lost record entered where it is too late": (
        *(wrote("r", final(3), 1, 2), wrote("t", final(5), 3, 4)),
        *(lost("s", 5), read("s", final(4), 6, 7)),
    ),
    "neither payment explains it": (paid("r", 5, 0, None), paid("s", 7, 0, None), balance("anna", -3, 1, 2)),
}


@pytest.mark.parametrize("told", LINEARIZABLE.values(), ids=LINEARIZABLE.keys())
def test_linearizable(told: tuple[Told, ...]) -> None:
    result = check(history(*told), LEDGER)
    assert result.verdict == Verdict.LINEARIZABLE, result.explained()


@pytest.mark.parametrize("told", NOT_LINEARIZABLE.values(), ids=NOT_LINEARIZABLE.keys())
def test_not_linearizable(told: tuple[Told, ...]) -> None:
    assert check(history(*told), LEDGER).verdict == Verdict.NOT_LINEARIZABLE


def parts_of(*told: Told) -> list[tuple[str, int]]:
    return sorted((part.label, len(part.operations)) for part in LEDGER.parts(history(*told)))


def test_records_that_touch_nothing_in_common_are_parts() -> None:
    assert parts_of(wrote("r", Final(), 0, 1), read("s", Absent(), 0, 1), read("r", Final(), 2, 3)) == [
        ("record r", 2),
        ("record s", 1),
    ]


def test_accounts_join_the_records_that_move_them() -> None:
    apart = paid("r", 5, 0, 1), balance("carla", 0, 2, 3), wrote("s", Final(), 0, 1)
    assert [size for _, size in parts_of(*apart)] == [1, 1, 1]
    joined = [size for _, size in parts_of(*apart, balance("anna", -5, 2, 3), paid("t", 1, 4, 5))]
    assert sorted(joined) == [1, 1, 3]


@pytest.mark.parametrize("told", [count(0, 2, 3), read("q", Absent(1), 2, 3), wrote("q", final(1), 2, 3)])
def test_counts_places_and_heights_are_about_everything(told: Told) -> None:
    assert parts_of(wrote("r", Final(), 0, 1), wrote("s", Final(), 0, 1), told) == [("", 3)]


def asked_at_the_end(lived: History, ledger: ImaginedLedger) -> History:
    """Every record that anybody wrote is asked for once more, when nothing is on its way any longer."""
    operations = list(lived.operations)
    end = max(one.call for one in operations) + LATEST + 1
    for record in sorted({one.input.record for one in operations if isinstance(one.input, WriteRecord)}):
        asked = ReadRecord(record)
        operations.append(Operation("last", end, end + 1, asked, ledger.answer(asked)))
        end += 2
    return History(tuple(operations))


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_operations_of_eight_clients(seed: int) -> None:
    """What a test of a real cluster brings: places, heights, balances, lost answers, all settled at the end."""
    random = Random(seed)
    ledger = ImaginedLedger(random)
    lived = asked_at_the_end(imagine(random, 8, 3_000, ask_all_of_ledger, ledger.answer), ledger)
    assert lived.pending > 100
    result = check(lived, LEDGER)
    assert result.verdict == Verdict.LINEARIZABLE, result.explained()
    # Nearly straight ahead: a search that tries much is a search that will be given up one day.
    assert result.states < 2 * len(lived.operations)


def test_without_places_and_heights_too() -> None:
    random = Random(1)
    lived = imagine(random, 8, 3_000, ask_ledger, ImaginedLedger(random, places=False).answer)
    result = check(lived, LEDGER)
    assert result.verdict == Verdict.LINEARIZABLE
    assert result.states < 2 * len(lived.operations)


def test_lost_records_that_nobody_asks_for_are_all_alike() -> None:
    """Of thirty, any number may be final: that is thirty-one ways and not a billion."""
    result = check(history(*(lost(f"r{number}", 0) for number in range(30)), count(31, 1, 2)), LEDGER)
    assert (result.verdict, result.states) == (Verdict.NOT_LINEARIZABLE, 31)


def lost_records(lived: History) -> list[int]:
    """Writes that were answered Final, whose record somebody else found after that."""
    found: dict[str, int] = {}
    for one in lived.operations:
        if isinstance(one.input, ReadRecord) and isinstance(one.output, Final):
            found[one.input.record] = max(found.get(one.input.record, 0), one.call)
    return [
        index
        for index, one in enumerate(lived.operations)
        if isinstance(one.output, Final)
        and one.returned is not None
        and isinstance(one.input, WriteRecord)
        and found.get(one.input.record, 0) > one.returned
    ]


@pytest.mark.parametrize("seed", range(10))
def test_one_wrong_answer_among_many_turns_the_verdict(seed: int) -> None:
    """A right history of 400 operations, and then the same with one answer that no right ledger gives there."""
    random = Random(seed)
    ledger = ImaginedLedger(random)
    lived = asked_at_the_end(imagine(random, 5, 400, ask_all_of_ledger, ledger.answer), ledger)
    assert check(lived, LEDGER).verdict == Verdict.LINEARIZABLE
    answered = [index for index, one in enumerate(lived.operations) if not one.pending]

    def turned(index: int, output: Any) -> Verdict:
        operations = list(lived.operations)
        operations[index] = msgspec.structs.replace(operations[index], output=output)
        return check(History(tuple(operations)), LEDGER).verdict

    def some(kind: type, told: type) -> tuple[int, Any]:
        fitting = [
            index
            for index in answered
            if isinstance(lived.operations[index].input, kind) and isinstance(lived.operations[index].output, told)
        ]
        index = random.choice(fitting)
        return index, lived.operations[index].output

    index, output = some(ReadBalance, Value)
    assert turned(index, Value(output.value + 1_000_000, output.height)) == Verdict.NOT_LINEARIZABLE
    index, output = some(ReadCount, Value)
    assert turned(index, Value(len(lived.operations), output.height)) == Verdict.NOT_LINEARIZABLE
    index, output = some(ReadRecord, Final)
    assert turned(index, Final(beside(output.place), output.height)) == Verdict.NOT_LINEARIZABLE
    # Of the last reads each found all that was final: one that misses its record has lost it.
    index = random.choice([index for index in answered[-50:] if isinstance(lived.operations[index].output, Final)])
    height = lived.operations[index].output.height
    assert turned(index, Absent(height)) == Verdict.NOT_LINEARIZABLE
    assert turned(index, Refused(None, height)) == Verdict.NOT_LINEARIZABLE
    index = random.choice(lost_records(lived))
    assert turned(index, Refused()) == Verdict.NOT_LINEARIZABLE


def beside(place: Place) -> Place:
    return (place[0], place[1] + 1_000)


def ask_of_few(random: Random, number: int) -> Any:
    """Everybody asks for the record of the moment, and now and then somebody writes it."""
    record = f"r{number // 20 * 9 + 1}"
    return write_of(record) if random.randrange(10) == 0 else ReadRecord(record)


def test_two_answers_that_are_swapped_turn_the_verdict() -> None:
    """Reads of one record one after the other, absent and then final: swapped, it comes and goes."""
    turned = 0
    for seed in range(2):
        random = Random(seed)
        lived = imagine(random, 5, 100, ask_of_few, ImaginedLedger(random, places=False).answer)
        absent = [one for one in lived.operations if isinstance(one.output, Absent)]
        for before in absent:
            later = [
                one
                for one in lived.operations
                if isinstance(one.output, Final)
                and one.input == before.input
                and before.returned is not None
                and before.returned < one.call
            ]
            for after in later:
                swapped = {id(before): after.output, id(after): before.output}
                operations = tuple(
                    msgspec.structs.replace(one, output=swapped.get(id(one), one.output)) for one in lived.operations
                )
                assert check(History(operations), LEDGER).verdict == Verdict.NOT_LINEARIZABLE
                turned += 1
    assert turned > 50


def test_what_went_wrong_is_said_in_the_words_of_the_ledger() -> None:
    falling = history(paid("s", 5, 0, 1), balance("anna", -5, 2, 3, height=4), read("r", Absent(3), 4, 5))
    assert check(falling, LEDGER).explained() == (
        "not linearizable: 2 states searched; no order explains the answers.\n"
        "The order that gets furthest has length 1 and ends with\n"
        "    client anna: WriteRecord(record='s', moves=(('anna', -5), ('bela', 5))) called at 0, "
        "answered Final(place=None, height=None) at 1\n"
        "Now anna has -5, a read at height 3 has to come before everything with a later place or height. "
        "One of these had to come next, and none leads on:\n"
        "    client reader: ReadBalance(account='anna') called at 2, answered Value(value=-5, height=4) at 3"
    )
    vanished = history(wrote("r", final(3), 0, 1), read("r", Absent(), 2, 3))
    assert (
        check(vanished, LEDGER)
        .explained()
        .endswith(
            "Now record r is open, the record of place (3, 0) has to come before everything with a later place or "
            "height. One of these had to come next, and none leads on:\n"
            "    client writer: WriteRecord(record='r', moves=()) called at 0, "
            "answered Final(place=(3, 0), height=None) at 1\n"
            "        but only after client reader: ReadRecord(record='r') called at 2, "
            "answered Absent(height=None) at 3"
        )
    )


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (("c", "coffee", 0, 1, "black"), "the ledger model knows WriteRecord, ReadRecord, ReadCount, ReadBalance"),
        (("c", WriteRecord("r"), 0, 1, Absent()), "expected Final or Refused"),
        (("c", ReadBalance("anna"), 0, 1, 5), "expected Value"),
        (("c", WriteRecord("r"), 0, 1, Final((3, 0), 4)), "only a read has a height"),
        (("c", ReadRecord("r"), 0, 1, Final((3, -1))), r"expected a place from \(0, 0\) on"),
    ],
)
def test_what_is_no_operation_on_a_ledger_is_refused(told: Told, message: str) -> None:
    with pytest.raises(HistoryError, match=f"client c: .*{message}"):
        check(history(told), LEDGER)


def test_an_id_has_one_content() -> None:
    with pytest.raises(HistoryError, match="the same record elsewhere moves something else"):
        check(history(paid("r", 5, 0, 1), paid("r", 6, 0, 1)), LEDGER)
