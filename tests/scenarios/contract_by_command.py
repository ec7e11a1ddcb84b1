"""Contract by command: offered, signed, kept by every order, and ended; a node dies while it signs and while it ends.

Anna offers to supply Bela: at most 3 kW, never dearer than 0.28 EUR/kWh, from her roof. Before he has signed
nothing is ordered under it, and Carla cannot sign for him. His node dies while he signs; said again with
the same key it is one signature. From then on his orders are within what both promised, named or
not: dearer, or more power than agreed, is refused; at the promised price Anna's offer meets his, once her
roof stands in the register. Her node dies while she ends it, and after that nothing binds him any more.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.scenarios.mesh import VILLAGE, open_mesh
from tests.scenarios.tokens_by_command import Village

TEXT = "Anna supplies Bela with what her roof has over.\n"
PAIR = ("--asset", "SUN", "--pay-with", "EURO")
CAP = 280
POWER_W = 3_000
# Of a unit of 1 Wh in a settlement period of a quarter of an hour.
MOST_UNITS = POWER_W // 4
# When a node is killed, after the command began.
DEATHS_S = (0.6, 0.9)
LEVEL = {
    "maximum_power_w": POWER_W,
    "priority": 2,
    "source": "solar",
    "price_cap_u_kwh": CAP * 1000,
    "response_time_s": 60,
}


async def play(place: Path) -> dict[str, Any]:
    """A supplier and its customer, from the offer to the end."""
    async with open_mesh(place, VILLAGE) as mesh:
        village = Village(mesh)
        await village.say("anna", "asset", "issue", "SUN", "--cap", "10000", "--amount", "2000")
        await village.say("anna", "asset", "issue", "EURO", "--kind", "money", "--cap", "1000000", "--cashier", "carla")
        await village.say(
            "carla", "cash", "in", "bela", "--asset", "EURO", "--amount", "500000", "--reference", "bank 1"
        )

        offered = await _offer(village, place)
        assert await _refused(village, _order(CAP, 3, offered)) == "NOT_UNDER_CONTRACT"
        assert (await village.refused("carla", "contract", "sign", offered))["verdict"] == "NOT_A_PARTY"
        heard = [await _through_a_death(village, "bela", "sign", offered, "signed", DEATHS_S[0])]

        dearer, stronger = _order(CAP + 1, 3, offered), _order(CAP, MOST_UNITS + 1, offered)
        for words in (dearer, stronger, _order(CAP + 1, 3), _order(CAP, MOST_UNITS + 1)):
            assert await _refused(village, words) == "BEYOND_SERVICE_LEVEL", words
        assert (await village.see("bela", "order", "list"))["standing"] == []
        await village.say("bela", *_order(CAP, MOST_UNITS, offered))
        await _roof(village)
        sale = ("order", "sell", *PAIR, "--amount", str(MOST_UNITS), "--price", str(CAP), "--good", "at-once")
        await village.say("anna", *sale, "--contract", offered)
        assert (await village.has("bela"))["SUN"] == (MOST_UNITS, 0)
        assert (await village.has("anna"))["EURO"] == (MOST_UNITS * CAP, 0)

        heard.append(await _through_a_death(village, "anna", "end", offered, "ended", DEATHS_S[1]))
        assert await _refused(village, _order(CAP, 3, offered)) == "NOT_UNDER_CONTRACT"
        again = (await village.refused("bela", "contract", "end", offered))["verdict"]
        # The ledger forgets what is over when a period closes, and one does every three seconds.
        assert again in ("CONTRACT_ENDED", "UNKNOWN_CONTRACT"), again
        free = await village.say("bela", *_order(CAP + 1, 3))
        await village.say("bela", "order", "cancel", free)
        height = await mesh.check_one_history()
        return {"carried_out_before_death": sum(heard), "of": len(heard), "height": height}


def _order(price: int, amount: int, contract: str = "") -> tuple[str, ...]:
    words = ("order", "buy", *PAIR, "--amount", str(amount), "--price", str(price))
    return (*words, "--contract", contract) if contract else words


async def _roof(village: Village) -> None:
    """Anna sells under it once her roof is in the register: she has promised energy of the sun."""
    mesh = village.mesh
    early = ("order", "sell", *PAIR, "--amount", "1", "--price", str(CAP), "--contract")
    (row,) = (await village.see("anna", "contract", "list"))["contracts"]
    assert (await village.refused("anna", *early, row["contract"]))["verdict"] == "BEYOND_SERVICE_LEVEL"
    plant = ("--kind", "production", "--source", "solar", "--capacity", "9000")
    roof = await village.say("anna", "installation", "register", "roof", *plant)
    await village.say("anna", "installation", "confirm", roof)
    await mesh.until_clock(mesh.next_period_s(1))


async def _offer(village: Village, place: Path) -> str:
    text = place / "contract.txt"
    text.write_text(TEXT)
    until_s = village.mesh.clock.now_s() + 30 * 86_400
    terms = ("--to", "bela", "--role", "supplier", "--terms", str(text), "--until", str(until_s))
    level = ("--power", str(POWER_W), "--priority", "2", "--source", "solar", "--response", "60")
    offered = await village.say("anna", "contract", "offer", *terms, *level, "--price-cap", "0.28 EUR/kWh")
    # Both read the same of it, at their own nodes.
    for name in ("anna", "bela"):
        (row,) = (await village.see(name, "contract", "list", "--fresh"))["contracts"]
        said = {key: row[key] for key in ("contract", "offered_by", "offered_to", "role", "terms", "status", "until_s")}
        assert said == {
            "contract": offered,
            "offered_by": "anna",
            "offered_to": "bela",
            "role": "supplier",
            "terms": hashlib.sha256(TEXT.encode()).hexdigest(),
            "status": "offered",
            "until_s": until_s,
        }, row
        assert row["service"] == LEVEL, row
    assert (await village.see("carla", "contract", "list"))["contracts"] == []
    return offered


async def _refused(village: Village, words: tuple[str, ...]) -> str:
    """The verdict on an order of Bela's that must be refused."""
    return str((await village.refused("bela", *words))["verdict"])


async def _through_a_death(village: Village, name: str, step: str, contract: str, status: str, delay_s: float) -> bool:
    """A step during which the node of who takes it dies, and which is said again; whether it was heard at first."""
    before = await _status(village)
    words = ("contract", step, contract, "--key", f"{name} {step}")
    await village.dies_while(name, words, delay_s)
    found = await _status(village)
    assert found in (before, status), found
    await village.say(name, *words)
    assert await _status(village) == status
    return found == status


async def _status(village: Village) -> str:
    """How far the contract is; no majority knows of more."""
    (row,) = (await village.see("anna", "contract", "list", "--fresh"))["contracts"]
    return str(row["status"])
