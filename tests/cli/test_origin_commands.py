"""Origin and feed commands: what they print for people, at a node that runs alone; the mesh has a scenario."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.shell import alone, complaint

RECORD = r"[0-9a-f]{64}"


def test_every_command_says_what_was_done(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    with alone(anna) as say:
        # The register; a node without a meter has nothing that could be counted.
        assert say("installation", "list").out == "no installations\n"
        roof = ("installation", "register", "roof", "--kind", "production", "--source", "solar", "--capacity", 9000)
        assert "the id of a meter" in complaint(*roof, "--dir", anna, code=2)
        unknown = say("installation", "confirm", "00" * 32, code=1).out
        assert "there is no such installation" in unknown

        # Certificates, of which there are none.
        assert say("certificate", "list").out.startswith("no certificates\n")
        assert say("certificate", "list", "--history").out.startswith("no certificates so far\n")
        assert "no certificates for that much" in say("certificate", "retire", "--energy", "1 Wh", code=1).out
        assert "not a legal guarantee of origin" in say("certificate", "list").out

        # Days and periods.
        day = say("origin", "day").out
        assert "nothing that was metered" in day and "not a legal guarantee of origin" in day
        assert "closed period" in complaint("trace", "32503680000", "--dir", anna, code=2)
        grams = say("origin", "grid-carbon", 300).out
        assert re.fullmatch(
            rf"accepted in block \d+: electricity from outside takes 300 g CO2 per kWh\n    record {RECORD}\n", grams
        )

        # Feeds.
        assert say("feed", "show").out == "no feeds\n"
        feed = ("feed", "define", "cold", "--unit", "0.1 °C", "--feeders", "anna", "--low", "-500", "--high", "500")
        assert "cold is fed by anna; 1 of them must agree" in say(*feed).out
        assert "not a whole number" in complaint("feed", "send", "cold", "2.5", "--dir", anna, code=2)
        assert "-25 is reported to cold" in say("feed", "send", "cold", "-25").out
        assert "-25 0.1 °C" in say("feed", "show").out
        assert "anna -25" in say("feed", "show", "cold").out
        assert "outside what the feed allows" in say("feed", "send", "cold", "501", code=1).out
