"""Price, parameter and credit commands: what they print, at a node that runs alone; the mesh has a scenario."""

from __future__ import annotations

import re
from pathlib import Path

from tests.cli.shell import alone, complaint


def test_every_command_says_what_was_done(tmp_path: Path) -> None:
    anna = tmp_path / "anna"
    with alone(anna) as say:
        # Prices.
        assert say("price", "show").out == "grid 0.30 EUR/kWh, feed-in 0.08 EUR/kWh\nno prices of members\n"
        set_ = say("price", "set", "--sell", "0.15 EUR/kWh", "--buy", "0.2 EUR/kWh").out
        assert "selling at 0.15 EUR/kWh and buying at 0.2 EUR/kWh, from the next period on" in set_
        assert re.search(r"anna +0\.15 EUR/kWh +0\.20 EUR/kWh +\d{4}-", say("price", "show").out)
        late = say("price", "set", "--sell", "0.15 EUR/kWh", "--from", "2020-01-01T00:00+00:00", code=1).out
        assert "it is set ahead, never backwards" in late
        assert "the binding refuses prices this high" in say("price", "set", "--buy", "0.3 EUR/kWh", code=1).out
        assert "the grid takes 0.34 EUR/kWh" in say("price", "outside", "--grid", "0.34 EUR/kWh").out

        # Parameters.
        assert "street light: 0.01 EUR/kWh" in say("parameter", "levy", "street light", "0.01 EUR/kWh").out
        assert "5 % of what is earned goes to anna" in say("parameter", "solidarity", 5, "--to", "anna:2").out
        nobody = ("parameter", "solidarity", 5, "--to", "a:b", "--dir", anna)
        assert "not a name with a weight" in complaint(*nobody, code=2)
        assert "between members" in say("parameter", "grid-fees", "0.05,0.02 EUR/kWh").out
        assert "anna is connected at north/feeder 2" in say("parameter", "location", "anna", "north/feeder 2").out
        assert "to 0.28 EUR/kWh are allowed" in say("parameter", "cap", "--most", "0.28 EUR/kWh").out
        assert "surplus takes off what was bought" in say("parameter", "compensation", "yes").out
        assert "not yes or no" in complaint("parameter", "compensation", "perhaps", "--dir", anna, code=2)
        paid = ("parameter", "incentive", "0.11 EUR/kWh", "--producers", 45, "--consumers", 45)
        assert "producers 45 %, consumers 45 %, fuel poverty the rest" in say(*paid, "--fund", "fuel poverty").out
        assert "contradicts itself" in say(*paid, code=1).out
        assert say("compensation", "show").out == "no billing period with compensation or an incentive\n"
        assert say("compensation", "hours", "--from", "2026-01-01T00:00+00:00").out == "no hour with an incentive\n"
        listed = say("parameter", "list").out
        for one in (
            "prices",
            "levy_u_kwh 10000",
            "'anna': 2",
            "[50000, 20000]",
            "feeder 2",
            "cap_u_kwh 280000",
            "fuel poverty",
            "applies 1",
        ):
            assert one in listed, listed

        # Credit.
        assert "may owe 25 EUR" in say("credit", "limit", "25 EUR", "--member", "anna").out
        assert re.search(r"anna +0\.00 EUR .*25\.00 EUR +25\.00 EUR", say("credit", "show").out)
        assert "no limit for anna" in say("credit", "limit", "none", "--member", "anna").out
        deposit = ("credit", "deposit", "--asset", "EURO", "--amount", 5, "--to", "anna")
        assert "there is no such asset" in say(*deposit, code=1).out
        assert "nothing of that kind is open" in say("credit", "release", "00" * 32, code=1).out
