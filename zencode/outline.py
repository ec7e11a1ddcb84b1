"""Outline: how the statements of a text stand together - rules, givens, events, conditions, actions.

Takes statements one by one in the order of the text and tells what stands where
it may not. A statement that could not be read is taken as None, so that its
neighbours are not called misplaced.
"""

from __future__ import annotations

from zencode.binding import MAX_STATEMENTS, Block, Statement, same_fact
from zencode.kinds import Value
from zencode.languages import Language, Phase
from zencode.mistakes import Notebook, StopReadingError
from zencode.sentences import BY_ID

_BODY = (Phase.WHEN, Phase.IF, Phase.THEN, Phase.END_IF)
_CONTINUED = (Phase.RULE, Phase.GIVEN, Phase.IF, Phase.THEN)


class Outline:
    """The parts of a binding as they are read.

    `facts` maps what a rule or given says to its line. Conditions are open from
    an If to its EndIf (`if_line` > 0); every change of conditions ends a block.
    """

    def __init__(self, notes: Notebook) -> None:
        self.rules: list[Statement] = []
        self.givens: list[Statement] = []
        self.blocks: list[Block] = []
        self.facts: dict[tuple[Value, ...], int] = {}
        self.last: Phase | None = None
        self._notes = notes
        self._section = Phase.RULE
        self._count = 0
        self._event: Statement | None = None
        self._event_line = 0
        self._event_acts = False
        self._if_line = 0
        self._if_acts = False
        self._conditions: list[Statement] = []
        self._actions: list[Statement] = []

    def begin(self, number: int, said: str, column: int, keyword: Phase, language: Language) -> Phase | None:
        """The phase of a sentence that begins with `keyword`; None when it can have none.

        Raises:
            StopReadingError: the text has too many statements.
        """
        phase = self.last if keyword == Phase.AND else keyword
        if phase is None or (keyword == Phase.AND and phase not in _CONTINUED):
            self._notes.wrong(number, column, said, _nothing_to_continue(self.last, language))
            return None
        self._count += 1
        if self._count > MAX_STATEMENTS:
            expected = f"more than {MAX_STATEMENTS} statements; a binding has no more"
            self._notes.wrong(number, 1, "", expected, "leave some out")
            raise StopReadingError
        section = Phase.WHEN if phase in _BODY else phase
        if section < self._section:
            early, late = language.keywords[section][0], language.keywords[self._section][0]
            expected = f"{early} stands above the first {late}"
            self._notes.wrong(number, column, said, expected, "move this line up")
        self._section = max(self._section, section)
        if phase in (Phase.IF, Phase.THEN) and not self._event_line:
            when = language.keywords[Phase.WHEN][0]
            self._notes.wrong(number, column, said, "no event stands above it", f"begin with {when}")
        self.last = phase
        return phase

    def skip(self, number: int) -> None:
        """A line whose keyword is unknown: it may have been the event of what follows."""
        self._event_line, self._event_acts = self._event_line or number, True

    def scenario(self, number: int, said: str, column: int) -> None:
        """The scenario line, once, between rules and givens."""
        if self._section == Phase.SCENARIO:
            self._notes.wrong(number, column, said, "a binding has one scenario", "delete this line")
        elif self._section > Phase.SCENARIO:
            self._notes.wrong(number, column, said, "the scenario stands between rules and givens", "move this line up")
        else:
            self._section = Phase.SCENARIO
        self.last = Phase.SCENARIO

    def add(self, number: int, phase: Phase, statement: Statement | None, language: Language) -> None:
        """Take the statement of a sentence that `begin` has placed in `phase`."""
        if phase == Phase.WHEN:
            self._close_event(number, language)
            # Of an event that could not be read nobody knows whether its action is on the same line.
            self._event, self._event_line, self._event_acts = statement, number, statement is None
        elif phase == Phase.IF:
            self._open_if(number, language)
        elif phase == Phase.THEN:
            self._event_acts = self._if_acts = True
        if statement is None:
            return
        if phase == Phase.IF:
            self._conditions.append(statement)
        elif phase == Phase.THEN:
            self._actions.append(statement)
        elif phase != Phase.WHEN:
            self._add_fact(number, phase, statement)

    def end_if(self, number: int, said: str, column: int, language: Language) -> None:
        """Close the open condition."""
        if self._if_line:
            self._finish_if(language)
        else:
            self._notes.wrong(number, column, said, "no condition is open", "delete this line")
        self.last = Phase.END_IF

    def end(self, number: int, language: Language) -> None:
        """The end of the text, after line `number`."""
        self._close_event(number, language)
        # An event that stands above several conditions is in the tree once for each.
        count = len(self.rules) + len(self.givens)
        count += sum(1 + len(block.conditions) + len(block.actions) for block in self.blocks)
        if count > MAX_STATEMENTS:
            expected = f"{count} statements, every event counted again for each of its conditions"
            self._notes.wrong(number, 1, "", f"{expected}; a binding has at most {MAX_STATEMENTS}", "leave some out")

    def _add_fact(self, number: int, phase: Phase, statement: Statement) -> None:
        fact, row = same_fact(statement), BY_ID[statement.id]
        if fact in self.facts:
            of = f" of '{fact[1]}'" if row.once else ""
            expected = f"the {row.name}{of} is said already, on line {self.facts[fact]}"
            self._notes.wrong(number, 1, "", expected, "delete one of the two")
            return
        self.facts[fact] = number
        (self.rules if phase == Phase.RULE else self.givens).append(statement)

    def _open_if(self, number: int, language: Language) -> None:
        if self._if_line and not self._if_acts:
            return  # a further condition
        if self._if_line:
            end, begin = language.keywords[Phase.END_IF][0], language.keywords[Phase.IF][0]
            expected = f"the {begin} of line {self._if_line} is still open; conditions do not nest"
            self._notes.wrong(number, 1, "", expected, f"write {end} above this line")
        self._flush()
        self._conditions, self._if_line, self._if_acts = [], number, False

    def _finish_if(self, language: Language) -> None:
        if not self._if_acts:
            expected = f"this condition has no {language.keywords[Phase.THEN][0]}"
            self._notes.wrong(self._if_line, 1, "", expected, "say what to do, or delete the condition")
        self._flush()
        self._conditions, self._if_line = [], 0

    def _close_event(self, number: int, language: Language) -> None:
        if self._if_line:
            begin, end = language.keywords[Phase.IF][0], language.keywords[Phase.END_IF][0]
            expected = f"the {begin} of line {self._if_line} has no {end}"
            self._notes.wrong(number, 1, "", expected, f"write {end} above")
            self._event_acts = True  # said once is enough
            self._finish_if(language)
        self._flush()
        if self._event_line and not self._event_acts:
            expected = f"this event has no {language.keywords[Phase.THEN][0]}"
            self._notes.wrong(self._event_line, 1, "", expected, "say what to do, or delete the event")

    def _flush(self) -> None:
        if self._event is not None and self._actions:
            self.blocks.append(Block(self._event, tuple(self._conditions), tuple(self._actions)))
        self._actions = []


def _nothing_to_continue(last: Phase | None, language: Language) -> str:
    said = language.keywords[Phase.AND][0]
    if last == Phase.WHEN:
        return f"{said} cannot follow {language.keywords[Phase.WHEN][0]}: a block has one event"
    if last == Phase.END_IF:
        return f"{said} cannot follow {language.keywords[Phase.END_IF][0]}; say what it continues"
    return f"there is no sentence above that {said} could continue"
