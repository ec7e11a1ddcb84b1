"""Language manual: LANGUAGE.md and its like in every language, made from the catalogue so that none can differ from it.

`python -m zencode.language` writes them; a test fails while one is stale. What stands around the tables is
`manual/CODE.md`, a text with places between braces.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zencode import terms
from zencode.binding import MAX_STATEMENTS, MAX_TITLE
from zencode.document import MAX_LINE, MAX_TEXT_BYTES
from zencode.grammar import examples, spell
from zencode.kinds import DAY_S, KINDS, MAX_NAME
from zencode.languages import LANGUAGES, Language, Phase
from zencode.meanings import kind_words, meaning, texts
from zencode.presets import NAMES
from zencode.sentences import BINDING_VERSION, BY_ID, CATALOGUE_VERSION, SENTENCES, Sentence
from zencode.values import write_value
from zencode.words import KNOWN_WORDS, spoken_words

_FOLDER = Path(__file__).parent
PATHS = {code: _FOLDER.joinpath(f"LANGUAGE{'' if code == 'en' else '.' + code}.md") for code in LANGUAGES}

#: «values», «stands under» and «since version» in each language.
_VALUES = {"en": "Values", "it": "Valori", "es": "Valores", "de": "Werte"}
_UNDER = {"en": "Stands under", "it": "Sta sotto", "es": "Va bajo", "de": "Steht unter"}
_SINCE = {
    "en": "Since version {} of the catalogue.",
    "it": "Dalla versione {} del catalogo.",
    "es": "Desde la versión {} del catálogo.",
    "de": "Seit Version {} des Katalogs.",
}


def manual(code: str) -> str:
    """The whole text of the manual in a language."""
    spoken, unsaid = LANGUAGES[code], terms.Terms()
    text = _FOLDER.joinpath("manual", f"{code}.md").read_text(encoding="utf-8")
    return (
        text.format(
            binding=BINDING_VERSION,
            catalogue=CATALOGUE_VERSION,
            count=len(SENTENCES),
            languages=len(LANGUAGES),
            others=", ".join(f"[{PATHS[other].name}]({PATHS[other].name})" for other in LANGUAGES if other != code),
            statements=MAX_STATEMENTS,
            kib=MAX_TEXT_BYTES // 1024,
            line=MAX_LINE,
            name=MAX_NAME,
            title=MAX_TITLE,
            keywords=_list(", ".join(_code(word) for word in spoken.keywords[phase]) for phase in Phase),
            kinds=_table(
                _kind(kind_words(kind, code), write_value(kind, kind.example, spoken, "EUR")) for kind in KINDS
            ),
            sentences=_sentences(spoken),
            words=_known_words(spoken),
            period=unsaid.settlement_period_s // 60,
            grace=unsaid.grace_s // 60,
            corrections=unsaid.correction_deadline_s // DAY_S,
            notice=unsaid.notice_s // DAY_S,
            lints=_list(text for key, text in texts(code).items() if key.startswith("lint ")),
            presets=_list(_code(name) for name in NAMES),
        ).rstrip("\n")
        + "\n"
    )


def _kind(words: tuple[str, str], example: str) -> list[str]:
    return [words[0], words[1], _code(example)]


def _sentences(spoken: Language) -> str:
    parts = []
    for phase in (Phase.RULE, Phase.GIVEN, Phase.WHEN, Phase.IF, Phase.THEN):
        parts.append(f"### {spoken.keywords[phase][0]}\n")
        parts += [_sentence(sentence, spoken) for sentence in SENTENCES if sentence.phase == phase]
    return "\n".join(parts)


def _sentence(sentence: Sentence, spoken: Language) -> str:
    code = spoken.code
    said = f"{spoken.keywords[sentence.phase][0]} {spell(sentence, examples(sentence, spoken), spoken)}"
    lines = [f"**{_code(said)}** ({sentence.id})", "", meaning(sentence, code)]
    values = ", ".join(kind_words(slot.kind, code)[0] for slot in sentence.slots)
    lines += [f"{_VALUES[code]}: {values}."] if values else []
    events = ", ".join(_code(_pattern(BY_ID[id], spoken)) for id in sentence.under)
    lines += [f"{_UNDER[code]}: {events}."] if events else []
    lines += [_SINCE[code].format(sentence.since)] if sentence.since > 1 else []
    return "\n".join(lines) + "\n"


def _pattern(sentence: Sentence, spoken: Language) -> str:
    """The words of an event with «...» for its values."""
    return spell(sentence, ["..."] * len(sentence.slots), spoken)


def _known_words(spoken: Language) -> str:
    kinds = {kind.vocabulary: kind for kind in KINDS if kind.vocabulary}
    parts = []
    for vocabulary, words in KNOWN_WORDS.items():
        name, what = kind_words(kinds[vocabulary], spoken.code)
        parts.append(f"**{name}** ({what}):\n")
        parts.append(
            _table([_code(_quoted(vocabulary, word.canonical, other)) for other in _first(spoken)] for word in words)
        )
    return "\n".join(parts)


def _first(spoken: Language) -> list[Language]:
    """All languages, the manual's own first."""
    return [spoken, *(other for other in LANGUAGES.values() if other is not spoken)]


def _quoted(vocabulary: str, word: str, language: Language) -> str:
    return "'" + spoken_words(vocabulary, language.code)[word].replace("'", "''") + "'"


def _code(text: str) -> str:
    return f"`{text}`"


def _list(items: Iterable[str]) -> str:
    return "".join(f"- {item}\n" for item in items)


def _table(rows: Iterable[list[str]]) -> str:
    cells = list(rows)
    lines = ["| " + " | ".join(row) + " |" for row in [[""] * len(cells[0]), ["---"] * len(cells[0]), *cells]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for language, path in PATHS.items():
        path.write_text(manual(language), encoding="utf-8")
