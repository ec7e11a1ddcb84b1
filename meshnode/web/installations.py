"""Installations: the endpoints of the register of plants and storages, of certificates, and of the grid's CO2."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from meshnode.ledger import certificates
from meshnode.origin import CARRIERS, KINDS, SOURCES, Carrier, Kind, Source
from meshnode.views import END_POSTING, MAX_ROWS
from meshnode.views.origin import range_row
from meshnode.web import asking
from meshnode.web.asking import Field, takes
from meshnode.web.backend import Backend
from meshnode.web.faults import Fault, Faults, answer, shown
from meshnode.web.figures import ask
from meshnode.web.fresh import with_fresh
from meshnode.web.origin import DISCLAIMER
from meshnode.web.speaking import account_asked, account_of, say, second_or, spoken_once
from meshnode.web.tokens import DEFAULT_ROWS, MEMBER, name_of, page
from protocols.records import (
    INSTALLATION_CONFIRMED,
    INSTALLATION_REMOVED,
    INSTALLATION_STOPPED,
    CertificateRetire,
    Certificates,
    CertificateTransfer,
    GridCarbon,
    Installation,
    InstallationRegister,
    InstallationState,
)
from protocols.records.identity import METER_ID_BYTES
from protocols.records.origin import MAX_CARBON_G_KWH, MAX_CERTIFICATE_WH, MAX_EFFICIENCY_PPM
from protocols.records.statements import MAX_POWER_W, RECORD_ID_BYTES

STATES = ("announced", "confirmed", "stopped", "removed")
NEXT = "next"
NOW = "now"
_ACTIONS = {"confirm": INSTALLATION_CONFIRMED, "stop": INSTALLATION_STOPPED, "remove": INSTALLATION_REMOVED}
_CARBON = asking.number(0, MAX_CARBON_G_KWH)
_WH = asking.number(1, MAX_CERTIFICATE_WH)
_SOURCE = Field("source", f"one of {', '.join(SOURCES)}", asking.choice(SOURCES), optional=True)
_REGISTER = (
    Field("kind", '"production" or "storage"', asking.choice(KINDS)),
    Field("name", "as people call it", asking.text),
    Field("capacity_w", f"W from 1 to {MAX_POWER_W}", asking.number(1, MAX_POWER_W)),
    Field("operational_s", 'UTC second since when it is in operation, or "now"', second_or(NOW)),
    _SOURCE,
    Field("carrier", '"electricity" or "heat"', asking.choice(CARRIERS), optional=True),
    Field("meter", "id of the meter that counts it; not needed where there is one", asking.text, optional=True),
    Field("technology", "how it works", asking.text, optional=True),
    Field("location", "where it stands", asking.text, optional=True),
    Field("carbon_g_kwh", f"g CO2 per kWh from 0 to {MAX_CARBON_G_KWH}", _CARBON, optional=True),
    Field("efficiency_ppm", "of a storage", asking.number(1, MAX_EFFICIENCY_PPM), optional=True),
    Field("supported", "1 if public money supports it", asking.number(0, 1), optional=True),
)
_TRANSFER = (Field("to", MEMBER, asking.text), Field("wh", f"Wh from 1 to {MAX_CERTIFICATE_WH}", _WH), _SOURCE)
_RETIRE = (
    Field("wh", f"Wh from 1 to {MAX_CERTIFICATE_WH}", _WH),
    _SOURCE,
    Field("purpose", "for what, or for whom", asking.text, optional=True),
)
_FACTOR = (
    Field("carbon_g_kwh", f"g CO2 per kWh from 0 to {MAX_CARBON_G_KWH}", _CARBON),
    Field("from_s", 'start of a period, or "next"', second_or(NEXT), optional=True),
    Field("carrier", '"electricity" or "heat"', asking.choice(CARRIERS), optional=True),
)


class Installations:
    """The endpoints of one backend."""

    def __init__(self, backend: Backend, token: str | None) -> None:
        """Args: token: what a writing request must carry; None: nobody may write."""
        self._backend = backend
        self._token = token

    def routes(self) -> list[Route]:
        """The endpoints, for the application."""
        return [
            Route("/api/installations", with_fresh(self._backend, self.installations)),
            Route("/api/installations", self.register, methods=["POST"]),
            Route("/api/installations/{id}/{action}", self.change, methods=["POST"]),
            Route("/api/certificates", with_fresh(self._backend, self.certificates)),
            Route("/api/certificates/history", with_fresh(self._backend, self.history)),
            Route("/api/certificates/transfer", self.transfer, methods=["POST"]),
            Route("/api/certificates/retire", self.retire, methods=["POST"]),
            Route("/api/grid-carbon", with_fresh(self._backend, self.factors)),
            Route("/api/grid-carbon", self.factor, methods=["POST"]),
        ]

    async def installations(self, request: Request) -> Response:
        """GET /api/installations?account&limit&skip: plants and storages with owner and state; account=all: all."""
        account = account_asked(self._backend, request, "all")
        items = self._backend.machine.state.installations.items()
        found, more = page(request, (item for item in items if account in (None, item[1].account)))
        return answer(
            {
                "installations": [
                    {
                        "installation": device.hex(),
                        "owner": name_of(self._backend, row.account),
                        "name": row.name,
                        "kind": Kind(row.kind).name.lower(),
                        "carrier": Carrier(row.carrier).name.lower(),
                        "source": Source(row.source).name.lower() if row.kind == Kind.PRODUCTION else "",
                        "state": STATES[row.status],
                        "meter": row.meter.hex(),
                        "capacity_w": row.capacity_w,
                        "operational_s": row.operational_s,
                        "technology": row.technology,
                        "location": row.location,
                        "carbon_g_kwh": row.carbon_g_kwh,
                        "efficiency_ppm": row.efficiency_ppm,
                        "supported": bool(row.supported),
                        "from_s": row.from_s,
                        "until_s": row.until_s,
                    }
                    for device, row in found
                ],
                "next": more,
            }
        )

    @takes(_REGISTER)
    async def register(self, request: Request) -> Response:
        """POST /api/installations: announce a plant or a storage behind a meter of yours."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _REGISTER)
        given["installation"] = given.pop("kind")
        if given["operational_s"] == NOW:
            given["operational_s"] = self._backend.clock.now_s()
        facts = {"carrier": int(Carrier.ELECTRICITY), "source": int(Source.GRID)}
        step = InstallationRegister(**(facts | given | {"meter": self._meter(given.get("meter"))}))
        return await say(self._backend, Installation(**spoken_once(self._backend, request), step=step))

    async def change(self, request: Request) -> Response:
        """POST /api/installations/{id}/{action}: confirm (administrators), stop or remove (the owner) one."""
        asking.check_token(request, self._token)
        device = asking.hex_id(request.path_params["id"], "installation id", RECORD_ID_BYTES)
        action = request.path_params["action"]
        if action not in _ACTIONS:
            raise Faults(404, Fault("path", shown(action), f"one of {', '.join(_ACTIONS)}"))
        step = InstallationState(installation=device, state=_ACTIONS[action])
        return await say(self._backend, Installation(**spoken_once(self._backend, request), step=step))

    async def certificates(self, request: Request) -> Response:
        """GET /api/certificates?account&limit&skip: what a member has, the oldest first; account=all: everybody.

        `first` to `last` number the Wh in the issuance; fields as in the EnergyTag granular certificate scheme.
        """
        state = self._backend.machine.state
        account = account_asked(self._backend, request)
        items = state.certificates.items() if account is None else certificates.of(state, account)
        found, more = page(request, items)
        held = [self._certificate(*key, row) for key, row in found]
        return answer({"certificates": held, "next": more, "disclaimer": DISCLAIMER})

    async def history(self, request: Request) -> Response:
        """GET /api/certificates/history?account&below&limit: issued, transferred, retired and lapsed, newest first."""
        limit = asking.whole(request, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
        below = asking.whole(request, "below", END_POSTING, 0, END_POSTING)
        account = account_asked(self._backend, request)
        found = await ask(lambda views: views.certificates(account, limit, below), self._backend.views)
        more = {"below": found[-1].number} if len(found) == limit else None
        return answer({"history": found, "next": more, "disclaimer": DISCLAIMER})

    @takes(_TRANSFER)
    async def transfer(self, request: Request) -> Response:
        """POST /api/certificates/transfer: pass certificates on, the oldest first."""
        asking.check_token(request, self._token)
        given = await asking.fields(request, _TRANSFER)
        given["to"] = account_of(self._backend, given["to"], "to")
        step = CertificateTransfer(**given)
        return await say(self._backend, Certificates(**spoken_once(self._backend, request), step=step))

    @takes(_RETIRE)
    async def retire(self, request: Request) -> Response:
        """POST /api/certificates/retire: use certificates for a claim, once and for all, the oldest first."""
        asking.check_token(request, self._token)
        step = CertificateRetire(**await asking.fields(request, _RETIRE))
        return await say(self._backend, Certificates(**spoken_once(self._backend, request), step=step))

    async def factors(self, request: Request) -> Response:
        """GET /api/grid-carbon?limit&skip: g CO2 per kWh from outside, by carrier and first period."""
        found, more = page(request, self._backend.machine.state.grid_carbon.items())
        rows = [
            {"carrier": Carrier(carrier).name.lower(), "from_s": from_s, "carbon_g_kwh": row.carbon_g_kwh}
            for (carrier, from_s), row in found
        ]
        return answer({"factors": rows, "next": more})

    @takes(_FACTOR)
    async def factor(self, request: Request) -> Response:
        """POST /api/grid-carbon: say what a kWh from outside takes in CO2 from a period on (administrators)."""
        asking.check_token(request, self._token)
        given: dict[str, Any] = {"from_s": NEXT, "carrier": int(Carrier.ELECTRICITY)}
        given |= await asking.fields(request, _FACTOR)
        if given["from_s"] == NEXT:
            length_s = self._backend.machine.rules().period.length_s
            given["from_s"] = (self._backend.clock.now_s() // length_s + 1) * length_s
        return await say(self._backend, GridCarbon(**spoken_once(self._backend, request), **given))

    def _certificate(self, owner: bytes, period_s: int, issuance: bytes, first: int, row: Any) -> dict[str, Any]:
        """A range as it stands, with what the register knows of the plant that made it."""
        state = self._backend.machine.state
        plant = state.installations.get(row.device)
        known = state.periods.get(period_s)
        length_s = self._backend.machine.rules(period_s).period.length_s if known is None else known.length_s
        return {
            **range_row(period_s, issuance, first, row),
            "owner": name_of(self._backend, owner),
            "producer": name_of(self._backend, row.producer),
            "status": "active",
            "face_value_wh": 1,
            "production_end_s": period_s + length_s,
            "carrier": Carrier(row.carrier).name.lower(),
            "device_name": "" if plant is None else plant.name,
            "device_technology": "" if plant is None else plant.technology,
            "device_capacity_w": None if plant is None else plant.capacity_w,
            "device_operational_s": None if plant is None else plant.operational_s,
            "device_location": "" if plant is None else plant.location,
            "device_supported": None if plant is None else bool(plant.supported),
            "issuer": self._backend.machine.genesis.community,
            "from_storage": bool(row.storage),
        }

    def _meter(self, given: str | None) -> bytes:
        """The meter that is meant: the one that is named, or the only one. Raises Faults."""
        if given is not None:
            return asking.hex_id(given, "meter", METER_ID_BYTES)
        own = [meter for meter, _ in self._backend.machine.state.meters.of_account(self._backend.account)]
        if len(own) != 1:
            fault = Fault("meter", "nothing", "the id of a meter", f"yours are {', '.join(one.hex() for one in own)}")
            raise Faults(400, fault)
        return own[0]
