"""Language manual: LANGUAGE.md, made from the catalogue so that it cannot differ from it.

`python -m zencode.language` writes it; a test fails while it is stale.
"""

from __future__ import annotations

from pathlib import Path

from zencode import terms
from zencode.binding import MAX_STATEMENTS, MAX_TITLE
from zencode.document import MAX_LINE, MAX_TEXT_BYTES
from zencode.grammar import examples, spell
from zencode.kinds import DAY_S, KINDS, MAX_NAME, NAME
from zencode.languages import LANGUAGES, Language, Phase
from zencode.lint import RULES
from zencode.presets import NAMES
from zencode.sentences import BINDING_VERSION, BY_ID, CATALOGUE_VERSION, SENTENCES, Sentence
from zencode.values import write_value
from zencode.words import KNOWN_WORDS, spoken_words

PATH = Path(__file__).with_name("LANGUAGE.md")

_INTRODUCTION = f"""\
# The binding language, version {BINDING_VERSION}

<!-- Made by `python -m zencode.language` from zencode/sentences.py; change that, not this. -->

A binding is the contract of an energy community in plain sentences. It is data, not a program: it has no
loops, variables or arithmetic. Every sentence is one of those below, with its own values in it. A text is
read into a tree, the tree has one encoding, and the SHA-256 of that is the binding's identity: the same
binding in two languages has one hash. This is version {CATALOGUE_VERSION} of the catalogue: {len(SENTENCES)} sentences.

## Form

- One sentence a line. A line begins with a keyword; `And` goes on with what the line before it was.
- Order: rules, the scenario, givens, then events. The first rule says the language of the text.
- An event (`When`) has actions (`Then`). Conditions (`If`, all of them must hold) stand around actions and
  end with `EndIf`; they do not nest. Events are handled in the order of the file.
- Rules and givens have no order of their own: changing it leaves the hash as it is. Each is said once, those
  with a name once for each name.
- Case does not matter, nor how many spaces there are; a full stop may end a sentence.
- Names stand between `'` and `'`; inside, `''` is an apostrophe. They are the community's own and the same in
  every language. So are the scenario's id and title.
- Numbers have a unit and no quotes and no thousands marks; the decimal mark is the language's own.
- A line that begins with `#` is a comment.
- A text has at most {MAX_STATEMENTS} statements and {MAX_TEXT_BYTES // 1024} KiB, a line {MAX_LINE}
  characters, a name {MAX_NAME} and a title {MAX_TITLE}. It is UTF-8; a byte-order mark at the start and CRLF
  line ends are accepted, control and invisible characters are not. Names use Latin, Greek and Cyrillic
  letters.
"""


def manual() -> str:
    """The whole text of LANGUAGE.md."""
    parts = [
        _INTRODUCTION,
        _keywords(),
        _kinds(),
        _sentences(),
        _known_words(),
        _defaults(),
        _lints(),
        _presets(),
    ]
    return "\n".join(parts)


def _keywords() -> str:
    rows = [[_code(" ".join(language.keywords[phase][:1])) for language in LANGUAGES.values()] for phase in Phase]
    return "## Keywords\n\n" + _table([language.name for language in LANGUAGES.values()], rows)


def _kinds() -> str:
    rows = [
        [
            kind.name,
            kind.meaning,
            *(_code(write_value(kind, kind.example, spoken, "EUR")) for spoken in _spoken()),
        ]
        for kind in KINDS
    ]
    return "## Values\n\n" + _table(["kind", "what it is", *(spoken.name for spoken in _spoken())], rows)


def _sentences() -> str:
    parts = ["## Sentences\n"]
    for phase in (Phase.RULE, Phase.GIVEN, Phase.WHEN, Phase.IF, Phase.THEN):
        parts.append(f"### {LANGUAGES['en'].keywords[phase][0]}\n")
        parts += [_sentence(sentence) for sentence in SENTENCES if sentence.phase == phase]
    return "\n".join(parts)


def _sentence(sentence: Sentence) -> str:
    lines = [f"**{sentence.name}** ({sentence.id}): {sentence.meaning}"]
    if sentence.under:
        lines[0] += " Stands under: " + ", ".join(BY_ID[id].name for id in sentence.under) + "."
    slots = ", ".join(f"{slot.name}: {slot.kind.name}" for slot in sentence.slots)
    if slots:
        lines[0] += f" Values: {slots}."
    lines.append("")
    for language in _spoken():
        keyword = language.keywords[sentence.phase][0]
        lines.append(f"- {language.code}: `{keyword} {spell(sentence, examples(sentence, language), language)}`")
    return "\n".join(lines) + "\n"


def _known_words() -> str:
    kinds = {kind.vocabulary: kind for kind in KINDS if kind.vocabulary}
    parts = [
        "## Known names\n",
        "These names have a meaning of their own and are translated; the spellings of all languages are read"
        " in a text of any language.\n",
    ]
    for vocabulary, words in KNOWN_WORDS.items():
        kind = kinds[vocabulary]
        names = [word.canonical for word in words]
        only = " (no others)" if kind.closed else " (or a name of the community)"
        what = kind.meaning if kind.form == NAME else "a recipient in a list of shares"
        rows = [[_code(_spoken_name(vocabulary, word, spoken)) for spoken in _spoken()] for word in names]
        parts.append(f"{what[0].upper()}{what[1:]}{only}:\n")
        parts.append(_table([spoken.name for spoken in _spoken()], rows))
    return "\n".join(parts)


def _defaults() -> str:
    unsaid = terms.Terms()
    lines = [
        f"- the settlement period is {unsaid.settlement_period_s // 60} minutes,"
        f" and a period settles {unsaid.grace_s // 60} minutes after its end;",
        f"- corrections are accepted for {unsaid.correction_deadline_s // DAY_S} days;",
        "- bills are issued every month, and debts are not netted;",
        "- grid energy and feed-in cost and pay nothing here: they are left to the suppliers;",
        "- orders are refused, and production is not shared;",
        "- a request to join that meets no block is refused;",
        "- fees go to the community fund;",
        f"- the binding changes with all votes and {unsaid.notice_s // DAY_S} days notice.",
    ]
    return "## What is not said\n\nWhere a binding is silent:\n\n" + "\n".join(lines) + "\n"


def _lints() -> str:
    lines = [f"- {(rule.__doc__ or '').strip()}" for rule in RULES]
    return "## What a check warns of\n\n" + "\n".join(lines) + "\n"


def _presets() -> str:
    return "## Presets\n\n" + "\n".join(f"- `{name}`" for name in NAMES) + "\n"


def _spoken_name(vocabulary: str, word: str, language: Language) -> str:
    return "'" + spoken_words(vocabulary, language.code)[word].replace("'", "''") + "'"


def _spoken() -> list[Language]:
    return list(LANGUAGES.values())


def _code(text: str) -> str:
    return f"`{text}`"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in [heads, ["---"] * len(heads), *rows]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PATH.write_text(manual(), encoding="utf-8")
