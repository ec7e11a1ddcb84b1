"""Origin: installations, certificates, and the CO2 of energy from outside."""

from __future__ import annotations

from meshnode.execution.call import Call, Handlers
from meshnode.ledger import certificates, installations, rows
from meshnode.ledger.verdicts import Verdict
from protocols.records import (
    Certificates,
    CertificateTransfer,
    GridCarbon,
    Installation,
    InstallationRegister,
)


def _installation(call: Call, record: Installation) -> Verdict:
    if isinstance(record.step, InstallationRegister):
        return installations.announce(call.state, record.step, call.record_id, call.account)
    return installations.change(call.state, record.step, call.account, call.boundary_s())


def _certificates(call: Call, record: Certificates) -> Verdict:
    if isinstance(record.step, CertificateTransfer):
        found = certificates.transfer(call.state, record.step, call.account)
    else:
        found = certificates.retire(call.state, record.step, call.account)
    if isinstance(found, Verdict):
        return found
    call.events.append(found)
    return Verdict.ACCEPTED


def _grid_carbon(call: Call, record: GridCarbon) -> Verdict:
    facts = (record.carrier, record.from_s, record.carbon_g_kwh)
    return installations.set_grid_carbon(call.state, *facts, call.account)


EXECUTED: Handlers = {
    Installation: (rows.PURPOSE_MEMBER, _installation),
    Certificates: (rows.PURPOSE_MEMBER, _certificates),
    GridCarbon: (rows.PURPOSE_MEMBER, _grid_carbon),
}
