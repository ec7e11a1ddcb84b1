"""Proofs of what is said of who sees what: on pages and over HTTP, node by node."""

from __future__ import annotations

from tests.effects.pages import homes, names_in
from tests.effects.proof import Proof
from tests.web.client import get
from zencode.catalogue import ids

DUE = "When a bill is due\n"
ALL = ["anna", "bela", "carla", "dora"]


async def hide() -> None:
    """Other homes' curves are hidden from consumers: bela sees her own alone, on the page as well; anna, who
    administers, sees all; and where nothing is hidden so does bela.
    """
    async with homes(f"{DUE}Then hide 'curves of other homes' from 'consumer'") as at:
        assert await names_in(at["bela"], "/api/lines?account=all") == ["bela"]
        refused = await get(at["bela"], "/api/lines?account=carla")
        assert refused.status == 403 and "curves of other homes" in refused.faults[0]["found"]
        assert await names_in(at["anna"], "/api/lines?account=all") == ALL
        report = (await get(at["bela"], "/api/report")).json
        assert {name for period in report["periods"] for name in period["members"]} == {"bela"}
    async with homes() as at:
        assert await names_in(at["bela"], "/api/lines?account=all") == ALL
        assert (await get(at["bela"], "/api/lines?account=carla")).status == 200
    async with homes(f"{DUE}Then hide 'order owner names' from 'everyone'") as at:
        [trade] = (await get(at["dora"], "/api/trades")).json["trades"]
        assert (trade["seller_name"], trade["buyer_name"], trade["energy_wh"]) == ("", "", 1000)
        [own] = (await get(at["bela"], "/api/trades")).json["trades"]
        assert (own["seller_name"], own["buyer_name"]) == ("", "bela")
        page = (await get(at["dora"], "/")).body.decode()
        assert "carla" not in page
    async with homes() as at:
        assert "carla" in (await get(at["dora"], "/")).body.decode()


async def seal() -> None:
    """Sealed readings are their owner's alone, also before an administrator."""
    async with homes(f"{DUE}Then keep 'readings' sealed") as at:
        assert [await names_in(at[home], "/api/lines?account=all") for home in ALL] == [[home] for home in ALL]
        assert (await get(at["anna"], "/api/postings?account=bela")).status == 403
    async with homes() as at:
        assert await names_in(at["dora"], "/api/lines?account=all") == ALL


async def let() -> None:
    """What is sealed is open to the role that is let see it, and to nobody else."""
    sealed = f"{DUE}Then keep 'all trades' sealed\nAnd let 'administrator' see 'all trades'"
    async with homes(sealed) as at:
        found = {home: len((await get(at[home], "/api/trades")).json["trades"]) for home in ALL}
        assert found == {"anna": 1, "bela": 1, "carla": 1, "dora": 0}, "both partners, and who is let"
    async with homes(f"{DUE}Then keep 'all trades' sealed") as at:
        assert (await get(at["anna"], "/api/trades")).json["trades"] == []


async def publish() -> None:
    """Anybody may ask for the month's sums where they are published and enough members are in them."""
    asked = "/api/totals?view=monthly%20totals"
    async with homes(f"{DUE}Then publish 'monthly totals' of at least 4 members") as at:
        found = (await get(at["dora"], asked)).json
        assert (found["totals"]["sold_wh"], found["totals"]["consumption_wh"]) == (2000, 2700)
        assert (await get(at["dora"], "/api/totals?view=period%20totals")).status == 403
    async with homes(f"{DUE}Then publish 'monthly totals' of at least 5 members") as at:
        few = await get(at["dora"], asked)
        assert few.status == 403 and "of 4 members, published from 5 on" in few.faults[0]["found"]
    async with homes() as at:
        assert "not published" in (await get(at["dora"], asked)).faults[0]["found"]


PROOFS: dict[int, Proof] = {ids.HIDE: hide, ids.SEAL: seal, ids.LET: let, ids.PUBLISH: publish}
"""One who is not let see a thing is told so, or gets what is left of it."""
