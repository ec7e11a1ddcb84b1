"""Explanation: a page about a binding for the assembly that votes on it.

The binding's own sentences, each with its meaning, under the questions that a
member asks: who can join, what is paid, how energy is shared, who sees what, what
happens when something fails, how it changes. What a check warns of stands at the
end as questions to ask.
"""

from __future__ import annotations

from msgspec import Struct

from zencode import sentences as s
from zencode.binding import Binding, Statement, binding_hash, is_priced
from zencode.document import Document
from zencode.languages import LANGUAGES, Phase
from zencode.lint import lint
from zencode.meanings import meaning
from zencode.sentences import BY_ID, CURRENCY_IS, Sentence
from zencode.wording import SUBJECTS, WORDINGS
from zencode.writer import WriteError, write_statement

COMMUNITY, JOINING, ENERGY, MONEY, VIEWS, FAULTS, CHANGE = SUBJECTS

#: Sentences whose subject is their own, wherever they stand.
_OWN_SUBJECT = {
    CHANGE: (s.CHANGES, s.VERSION, s.MAY_PAUSE, s.VOTE_TIME, s.TURNOUT),
    ENERGY: (
        *(s.ALLOCATION, s.BAND, s.BAND_ON, s.BAND_SHARE, s.RANK),
        *(s.STORED_ENERGY, s.EFFICIENCY, s.STORAGE_ACCESS, s.GRID_FEED),
    ),
    MONEY: (
        *(s.ROUNDING, s.BILLING, s.COLLECTING, s.VAT_RATE, s.VAT_CATEGORY),
        *(s.ASSET_IS, s.ISSUER, s.CASHIER, s.ISSUER_BURNS),
        *(s.FEE_PER_KWH, s.FEE_PER_CYCLE, s.SPLIT, s.PAY_BACK, s.DEBT_LIMIT, s.LEVY, s.SOLIDARITY),
        *(s.FEE_PER_PERIOD, s.STORAGE_FEE, s.SESSION_PRICE, s.SESSION_FEE),
        *(s.MINT, s.BURN, s.PAY_WITH, s.MAX_STORED),
    ),
    VIEWS: (s.LET, s.HIDE, s.PROOF, s.PUBLISH, s.SEAL),
    FAULTS: (s.CRITICAL, s.CRITICAL_FIRST, s.RATION, s.FREEZE),
}
_BY_SENTENCE = {id: subject for subject, ids in _OWN_SUBJECT.items() for id in ids}
#: The subject of the other actions is that of their event; energy where it has none here.
_BY_EVENT = {
    s.JOIN: JOINING,
    s.LEAVE: JOINING,
    s.BILL_DUE: MONEY,
    s.REDEEMED: MONEY,
    s.METER_SILENT: FAULTS,
    s.IMPLAUSIBLE: FAULTS,
    s.EVIDENCE_FOUND: FAULTS,
    s.GRID_LOST: FAULTS,
    s.FEEDER_LOSES: FAULTS,
    s.VOTE_OPENS: CHANGE,
}


class Said(Struct, frozen=True):
    """A sentence of the binding with its meaning. `line` is where it stands in the text, 0 if it has none."""

    id: int
    name: str
    line: int
    text: str
    meaning: str


class Passage(Struct, frozen=True):
    """Sentences that are read together: actions with their event and conditions, or facts without an event."""

    event: Said | None
    conditions: tuple[Said, ...]
    sentences: tuple[Said, ...]


class Part(Struct, frozen=True):
    """One subject of the page; `subject` is one of SUBJECTS, `heading` is it in words."""

    subject: str
    heading: str
    passages: tuple[Passage, ...]


class Question(Struct, frozen=True):
    """What a check warns of. `text` is the sentence concerned, "" for the binding as a whole; `reason` is English."""

    level: str
    name: str
    line: int
    text: str
    reason: str


class Page(Struct, frozen=True):
    """What an assembly reads. Subjects of which the binding says nothing have no part."""

    title: str
    scenario: str
    language: str
    hash: str
    parts: tuple[Part, ...]
    questions: tuple[Question, ...]


def explain(document: Document, language: str | None = None) -> Page:
    """The page about a binding.

    Args:
        language: of the page; the text's own if none is given.
    Raises:
        WriteError: no such language.
    """
    code = document.language if language is None else language
    if code not in LANGUAGES:
        raise WriteError(f"no language «{code}»; the catalogue has {', '.join(LANGUAGES)}")
    binding = document.binding
    speaker = _Speaker(document, code)
    passages: dict[str, list[Passage]] = {subject: [] for subject in SUBJECTS}
    for subject in SUBJECTS:
        facts = [fact for fact in (*binding.rules, *binding.givens) if _subject_of_fact(BY_ID[fact.id]) == subject]
        if facts:
            passages[subject].append(Passage(None, (), speaker.say(facts)))
    for block in binding.blocks:
        found: dict[str, list[Statement]] = {}
        for action in block.actions:
            found.setdefault(_subject_of_action(block.event.id, action.id), []).append(action)
        for subject, actions in found.items():
            event = speaker.say([block.event])[0]
            passages[subject].append(Passage(event, speaker.say(block.conditions), speaker.say(actions)))
    headings = dict(zip(SUBJECTS, WORDINGS[code].subjects, strict=True))
    return Page(
        title=binding.title,
        scenario=binding.scenario,
        language=code,
        hash=binding_hash(binding).hex(),
        parts=tuple(Part(subject, headings[subject], tuple(found)) for subject, found in passages.items() if found),
        questions=tuple(_questions(document, speaker)),
    )


def page_text(page: Page) -> str:
    """The page in Markdown, which reads well without a program too. Each meaning is said once."""
    words, keywords = WORDINGS[page.language], LANGUAGES[page.language].keywords
    lines = [f"# {page.title}", "", f"{words.binding} '{page.scenario}', {page.hash}"]
    told: set[int] = set()
    for part in page.parts:
        lines += ["", f"## {part.heading}"]
        for passage in part.passages:
            lines.append("")
            if passage.event is not None:
                lines.append(f"{keywords[Phase.WHEN][0]} {passage.event.text}{_meaning(passage.event, told)}")
            for number, condition in enumerate(passage.conditions):
                keyword = keywords[Phase.AND if number else Phase.IF][0]
                lines.append(f"{keyword} {condition.text}{_meaning(condition, told)}")
            if passage.event is not None:
                lines.append("")
            lines += [f"- {one.text[0].upper()}{one.text[1:]}{_meaning(one, told)}" for one in passage.sentences]
    if page.questions:
        lines += ["", f"## {words.questions}", ""]
        lines += [f"- {_asked(question)}: {words.question}" for question in page.questions]
    return "\n".join(lines) + "\n"


class _Speaker:
    """Says the statements of one document in one language."""

    def __init__(self, document: Document, language: str) -> None:
        self._document = document
        self._language = language
        self._currency = currency_of(document.binding)

    def say(self, statements: tuple[Statement, ...] | list[Statement]) -> tuple[Said, ...]:
        return tuple(
            Said(
                one.id,
                BY_ID[one.id].name,
                self._document.line_of(one),
                write_statement(one, self._language, self._currency),
                meaning(BY_ID[one.id], self._language),
            )
            for one in statements
        )


def currency_of(binding: Binding) -> str:
    """The code of a binding's currency, "" if it has none."""
    given = binding.given(CURRENCY_IS)
    return str(given.slots[0]) if given else ""


def _subject_of_fact(row: Sentence) -> str:
    subject = _BY_SENTENCE.get(row.id)
    if subject is not None:
        return subject
    if row.phase == Phase.RULE:
        return CHANGE
    return MONEY if is_priced(row) else COMMUNITY


def _subject_of_action(event: int, action: int) -> str:
    return _BY_SENTENCE.get(action) or _BY_EVENT.get(event, ENERGY)


def _questions(document: Document, speaker: _Speaker) -> list[Question]:
    found = []
    for finding in lint(document.binding):
        said = speaker.say([finding.statement])[0] if finding.statement is not None else None
        line, text = (said.line, said.text) if said else (0, "")
        found.append(Question(finding.level, finding.name, line, text, finding.reason))
    return found


def _asked(question: Question) -> str:
    return f"«{question.text}»: {question.reason}" if question.text else question.reason


def _meaning(said: Said, told: set[int]) -> str:
    if said.id in told:
        return ""
    told.add(said.id)
    return f" - {said.meaning}"
