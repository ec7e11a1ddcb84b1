"""Origin: the endpoints that name the source of every Wh that somebody used, for a period and for a day.

Final periods are read from the views. Those that may still be corrected are worked out from the ledger as it
stands; what was worked out is kept until a correction changes what it came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.amounts import PPM, split
from meshnode.origin import CARBON_UNKNOWN, GREEN, Carrier, Share, Source, Traced, Way, carbon_mg
from meshnode.settlement import closing, origins
from meshnode.settlement.origins import Inputs
from meshnode.views import END_S
from meshnode.web import asking
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer
from meshnode.web.figures import ask
from meshnode.web.fresh import with_fresh
from meshnode.web.speaking import account_asked
from meshnode.web.tokens import name_of
from meshnode.web.zone import Zone

DISCLAIMER = "Accounting of origin by the community's own meters; not a legal guarantee of origin."
# Settling a period again takes a few milliseconds: so many in a row keep nobody else waiting for long.
PERIODS_AT_A_TIME = 16
# A day has 25 hours at most; a question about much more than a month is asked in parts.
MAX_SPAN_S = 32 * 86_400

PeriodShares = list[tuple[int, int, tuple[Share, ...]]]
"""(period, carrier, shares)."""


class Origin:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[int, tuple[Inputs, tuple[Traced, ...]]] = {}

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/origin", with_fresh(self._backend, self.period)),
            Route("/api/origin/day", with_fresh(self._backend, self.day)),
        ]

    async def period(self, request: Request) -> Response:
        """GET /api/origin?account&period_start_s: where every Wh came from that a member used in a closed period.

        Without a period the newest one; account=all: everybody. `first` to `last` number the Wh of a lot in the
        issuance of its device and period; shares in ppm add up to a million.
        """
        machine = self._backend.machine
        account = account_asked(self._backend, request)
        newest_s = machine.next_period_s - machine.rules().period.length_s
        start_s = asking.whole(request, "period_start_s", newest_s, 0, END_S)
        is_final = start_s < machine.state.meta[0].next_final_s
        if start_s >= machine.next_period_s or (not is_final and start_s not in machine.state.periods):
            raise Faults(
                400,
                Fault("query period_start_s", str(start_s), f"the start of a closed period, {newest_s} or before"),
            )
        found = await self._between(account, start_s, start_s + 1)
        return answer(
            {
                "period_start_s": start_s,
                "final": is_final,
                "members": [self._member(*one) for one in _by_member(found)],
                "disclaimer": DISCLAIMER,
            }
        )

    async def day(self, request: Request) -> Response:
        """GET /api/origin/day?account&at_s&from_s&to_s: shares of a local day by way and source.

        The day that holds the second `at_s`, or today; other spans by their own ends. Shares in ppm add
        up to a million for each carrier; account=all: the community's.
        """
        backend = self._backend
        account = account_asked(backend, request)
        at_s = asking.whole(request, "at_s", backend.clock.now_s(), 0, END_S)
        today = Zone(backend.machine.genesis.zone_changes).day(at_s)
        from_s = asking.whole(request, "from_s", today[0], 0, END_S)
        to_s = asking.whole(request, "to_s", max(today[1], from_s), from_s, from_s + MAX_SPAN_S)
        found = await self._between(account, from_s, to_s)
        sums: dict[int, list[Share]] = {}
        for _, carrier, shares in found:
            sums.setdefault(carrier, []).extend(shares)
        return answer(
            {
                "from_s": from_s,
                "to_s": to_s,
                "final": to_s <= backend.machine.state.meta[0].next_final_s,
                "name": "" if account is None else name_of(backend, account),
                "carriers": [_summed(carrier, shares) for carrier, shares in sorted(sums.items())],
                "disclaimer": DISCLAIMER,
            }
        )

    async def _between(self, account: bytes | None, from_s: int, to_s: int) -> PeriodShares:
        """Shares of an account (None: of all) in closed periods of [from_s, to_s), in order."""
        open_ = await self._open(from_s, to_s)
        # What became final meanwhile is in the views, or will be in a moment; nothing is counted twice.
        first_open_s = min(open_, default=END_S)
        final = await ask(lambda views: views.origins(account, from_s, min(to_s, first_open_s)), self._backend.views)
        recent = [
            (start_s, one.carrier, shares)
            for start_s, traced in open_.items()
            for one in traced
            for shares in [tuple(share for share in one.shares if account in (None, share.account))]
            if shares
        ]
        return [*final, *recent]

    async def _open(self, from_s: int, to_s: int) -> dict[int, tuple[Traced, ...]]:
        """Origins of closed periods of [from_s, to_s) that may still be corrected."""
        while (found := self._look(from_s, to_s)) is None:
            await trio.lowlevel.checkpoint()
        return found

    def _look(self, from_s: int, to_s: int) -> dict[int, tuple[Traced, ...]] | None:
        """The same; None if there is more to work out than keeps others waiting."""
        machine = self._backend.machine
        state, meta = machine.state, machine.state.meta[0]
        # What a storage gives back depends on all periods before.
        begin_s = meta.next_final_s if origins.has_storages(state) else max(from_s, meta.next_final_s)
        self._known = {start: known for start, known in self._known.items() if start >= meta.next_final_s}
        stored = origins.storages(state)
        found, fresh = {}, 0
        for start_s, _ in state.periods.range(begin_s, min(to_s, meta.next_period_s)):
            rules = machine.rules(start_s).period
            inputs = origins.inputs(state, start_s, rules.length_s, closing.metered(state, start_s), stored)
            known = self._known.get(start_s)
            if known is None or known[0] != inputs:
                if fresh == PERIODS_AT_A_TIME:
                    return None
                settlement, _ = closing.settled(state, start_s, rules)
                known = self._known[start_s] = inputs, origins.follow(inputs, settlement)
                fresh += 1
            stored = origins.after(stored, known[1])
            if start_s >= from_s:
                found[start_s] = known[1]
        return found

    def _member(self, account: bytes, carrier: int, shares: list[Share]) -> dict[str, Any]:
        return {
            "account": account.hex(),
            "name": name_of(self._backend, account),
            **_summed(carrier, shares),
            "lots": [
                {**row, "ppm": ppm}
                for row, ppm in zip(map(self._share, shares), _ppm([share.lot.wh for share in shares]), strict=True)
            ],
        }

    def _share(self, share: Share) -> dict[str, Any]:
        lot, installations = share.lot, self._backend.machine.state.installations
        device, storage = installations.get(lot.device), installations.get(lot.storage)
        return {
            "way": Way(share.way).name.lower(),
            "source": Source(lot.source).name.lower(),
            "green": lot.source in GREEN,
            "wh": lot.wh,
            "producer": name_of(self._backend, lot.producer),
            "device": lot.device.hex(),
            "device_name": "" if device is None else device.name,
            "storage": lot.storage.hex(),
            "storage_name": "" if storage is None else storage.name,
            "issuance": lot.issuance.hex(),
            "first": lot.first,
            "last": lot.first + lot.wh - 1,
            "period_start_s": lot.period_s,
            "carbon_g_kwh": None if lot.carbon_g_kwh == CARBON_UNKNOWN else lot.carbon_g_kwh,
        }


def _by_member(found: PeriodShares) -> list[tuple[bytes, int, list[Share]]]:
    """The shares of each member and carrier."""
    groups: dict[tuple[bytes, int], list[Share]] = {}
    for _, carrier, shares in found:
        for share in shares:
            groups.setdefault((share.account, carrier), []).append(share)
    return [(account, carrier, shares) for (account, carrier), shares in sorted(groups.items(), key=lambda one: one[0])]


def _summed(carrier: int, shares: Iterable[Share]) -> dict[str, Any]:
    """What was used of a carrier, by way and source, with its CO2."""
    by_source: dict[tuple[int, int], int] = {}
    lots = [share.lot for share in shares]
    for share in shares:
        place = (share.way, share.lot.source)
        by_source[place] = by_source.get(place, 0) + share.lot.wh
    mg, unknown_wh = carbon_mg(lots)
    wh = sum(by_source.values())
    places = sorted(by_source)
    parts = _ppm([by_source[place] for place in places])
    return {
        "carrier": Carrier(carrier).name.lower(),
        "wh": wh,
        "green_wh": sum(used for (_, source), used in by_source.items() if source in GREEN),
        "carbon_mg": mg,
        "carbon_unknown_wh": unknown_wh,
        "carbon_g_kwh": mg // (wh - unknown_wh) if wh > unknown_wh else None,
        "shares": [
            {
                "way": Way(way).name.lower(),
                "source": Source(source).name.lower(),
                "green": source in GREEN,
                "wh": by_source[(way, source)],
                "ppm": ppm,
            }
            for (way, source), ppm in zip(places, parts, strict=True)
        ],
    }


def _ppm(parts_wh: list[int]) -> list[int]:
    """Each part's share of the whole, which is a million; nothing of nothing."""
    if not any(parts_wh):
        return [0] * len(parts_wh)
    found = split(PPM, [(number.to_bytes(4, "big"), wh) for number, wh in enumerate(parts_wh)])
    return list(found.values())
