"""Addresses: multiaddresses of TCP listeners, read and written without the network library."""

from __future__ import annotations

import ipaddress
import socket

import msgspec

EXAMPLE = "/ip4/192.168.1.20/tcp/4170"
# The documentation networks: sockets are "connected" there to learn the way out, and nothing is sent.
_ELSEWHERE = {4: ("192.0.2.1", socket.AF_INET), 6: ("2001:db8::1", socket.AF_INET6)}
_LOOPBACK = {4: "127.0.0.1", 6: "::1"}


class TcpAddress(msgspec.Struct, frozen=True):
    """Where to listen, or whom to dial: /ip4/HOST/tcp/PORT, with /p2p/PEER if `peer` is not empty."""

    host: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    peer: str = ""

    def __str__(self) -> str:
        peer = f"/p2p/{self.peer}" if self.peer else ""
        return f"/ip{self.host.version}/{self.host}/tcp/{self.port}{peer}"

    def dialable(self) -> TcpAddress:
        """The same, with this computer's own address in the place of a wildcard."""
        if not self.host.is_unspecified:
            return self
        return msgspec.structs.replace(self, host=ipaddress.ip_address(_own_address(self.host.version)))


def read_address(text: str) -> TcpAddress:
    """The address that `text` spells.

    Raises:
        ValueError: it spells none; with what was found and an example.
    """
    parts = text.split("/")
    versions = {"ip4": 4, "ip6": 6}
    try:
        if len(parts) not in (5, 7) or parts[0] or parts[1] not in versions or parts[3] != "tcp":
            raise ValueError("not of the form /ip4/HOST/tcp/PORT")
        if len(parts) == 7 and (parts[5] != "p2p" or not parts[6]):
            raise ValueError("what follows the port must be /p2p/ and a peer id")
        host = ipaddress.ip_address(parts[2])
        if host.version != versions[parts[1]]:
            raise ValueError(f"{parts[2]} is no {parts[1]} address")
        if not (parts[4].isascii() and parts[4].isdigit() and int(parts[4]) <= 65535):
            raise ValueError(f"{parts[4]} is no port")
    except ValueError as error:
        raise ValueError(f"address {text!r}: {error}\n    write it like {EXAMPLE}") from error
    return TcpAddress(host, int(parts[4]), parts[6] if len(parts) == 7 else "")


def _own_address(version: int) -> str:
    """The address by which this computer leaves its network; loopback where there is no way out."""
    elsewhere, family = _ELSEWHERE[version]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((elsewhere, 9))
            own: str = probe.getsockname()[0]
    except OSError:
        return _LOOPBACK[version]
    return own
