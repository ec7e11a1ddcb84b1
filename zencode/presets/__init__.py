"""Presets: whole bindings to start from, each in every language of the catalogue with one hash.

A preset `name` is `name.zen` in English and `name.CODE.zen` in another language,
beside this module.
"""

from __future__ import annotations

from importlib.resources import files

from zencode.languages import LANGUAGES

#: Those the state machine carries out in full come first.
NAMES = (
    "mid_market_village",
    "neighbour_market",
    "spanish_self_consumption",
    "italian_energy_community",
    "island_order_book",
    "charging_yard",
)


def preset(name: str, language: str = "en") -> str:
    """The text of a preset. Spaces and dashes in `name` count as underscores.

    Raises:
        ValueError: no such preset or language; the message lists those there are.
    """
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    if key not in NAMES:
        known = ", ".join(known.replace("_", "-") for known in NAMES)
        raise ValueError(f"no preset «{name}»; there are {known}")
    if language not in LANGUAGES:
        raise ValueError(f"no language «{language}»; there are {', '.join(LANGUAGES)}")
    suffix = "" if language == "en" else f".{language}"
    return (files(__name__) / f"{key}{suffix}.zen").read_text(encoding="utf-8")
