"""Wording: the words of pages about a binding - headings, and how a change is told - in every spoken language.

The sentences themselves and their meanings are the catalogue's; the reasons of lints are in English.
"""

from __future__ import annotations

from msgspec import Struct

#: What a community asks of a contract, in the order of a page.
SUBJECTS = ("community", "joining", "energy", "money", "views", "faults", "change")


class Wording(Struct, frozen=True):
    """The words of one language.

    `subjects` are headings, in the order of SUBJECTS. In a difference, {} stands
    for a sentence: `becomes` has two, old and new, `moved` has the sentence that
    now stands above as its second.
    """

    subjects: tuple[str, ...]
    questions: str
    question: str
    binding: str
    same: str
    title: str
    added: str
    removed: str
    becomes: str
    moved: str
    first: str


WORDINGS: dict[str, Wording] = {
    "en": Wording(
        subjects=(
            "What the community is",
            "Who can join, and who leaves",
            "How energy is traded and shared",
            "What is paid, and who receives it",
            "Who sees what",
            "What happens when something fails",
            "How this binding changes",
        ),
        questions="Questions to ask before the vote",
        question="is that meant?",
        binding="Binding",
        same="The two bindings say the same.",
        title="The title {} becomes {}",
        added="New: {}",
        removed="Gone: {}",
        becomes="{} becomes {}",
        moved="{} now stands after {}",
        first="{} now stands first",
    ),
    "it": Wording(
        subjects=(
            "Che cos'è la comunità",
            "Chi può entrare, e chi esce",
            "Come l'energia è scambiata e ripartita",
            "Che cosa si paga, e chi lo riceve",
            "Chi vede che cosa",
            "Che cosa succede quando qualcosa non va",
            "Come cambia questo patto",
        ),
        questions="Domande da fare prima del voto",
        question="è voluto?",
        binding="Patto",
        same="I due patti dicono la stessa cosa.",
        title="Il titolo {} diventa {}",
        added="Nuovo: {}",
        removed="Tolto: {}",
        becomes="{} diventa {}",
        moved="{} ora sta dopo {}",
        first="{} ora sta per primo",
    ),
    "es": Wording(
        subjects=(
            "Qué es la comunidad",
            "Quién puede entrar, y quién sale",
            "Cómo se intercambia y se reparte la energía",
            "Qué se paga, y quién lo recibe",
            "Quién ve qué",
            "Qué pasa cuando algo falla",
            "Cómo cambia este acuerdo",
        ),
        questions="Preguntas antes de la votación",
        question="¿es lo que se quiere?",
        binding="Acuerdo",
        same="Los dos acuerdos dicen lo mismo.",
        title="El título {} pasa a ser {}",
        added="Nuevo: {}",
        removed="Quitado: {}",
        becomes="{} pasa a ser {}",
        moved="{} está ahora después de {}",
        first="{} está ahora al principio",
    ),
    "de": Wording(
        subjects=(
            "Was die Gemeinschaft ist",
            "Wer beitreten kann und wer austritt",
            "Wie Energie gehandelt und geteilt wird",
            "Was bezahlt wird und wer es bekommt",
            "Wer was sieht",
            "Was geschieht, wenn etwas ausfällt",
            "Wie sich diese Vereinbarung ändert",
        ),
        questions="Fragen vor der Abstimmung",
        question="ist das so gewollt?",
        binding="Vereinbarung",
        same="Die beiden Vereinbarungen sagen dasselbe.",
        title="Der Titel {} wird zu {}",
        added="Neu: {}",
        removed="Entfällt: {}",
        becomes="{} wird zu {}",
        moved="{} steht jetzt nach {}",
        first="{} steht jetzt am Anfang",
    ),
}
