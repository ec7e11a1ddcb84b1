"""Serial port: bytes from a terminal device, through unplugging and plugging back.

The port is always opened with 8 data bits and no parity. Meters that send 7
data bits and even parity are served by checking and stripping the parity here,
since a pseudo-terminal cannot do it: tests and hardware share the code.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import termios
from collections.abc import AsyncGenerator
from typing import Final, Literal

import trio

from drivers.driver import DriverError

log = logging.getLogger(__name__)

Framing = Literal["8N1", "7E1"]

# A port that is gone is tried again after these many seconds, doubling: fast
# enough that a cable put back is not noticed, slow enough to cost nothing.
FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 30.0
# One telegram of a household meter has 0.2 to 1.5 KiB.
_READ_BYTES: Final = 4096
# What a byte with wrong parity becomes: DEL is in no meter's grammar, so that
# a damaged digit makes the line invalid instead of another number.
BAD_PARITY: Final = 0x7F


def open_tty(port: str, baud: int) -> int:
    """Open a terminal device raw, 8N1, without flow control, for this process alone.

    Args:
        port: a device, best a name below /dev/serial/by-id, which stays when
            adapters are plugged in another order.
    Returns:
        A file descriptor in non-blocking mode; the caller closes it.
    Raises:
        DriverError: says what is wrong with the port and what to do.
    """
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        raise DriverError(f"port {port}", f"{baud} baud", "a standard rate such as 9600 or 115200", "correct baud")
    try:
        fd = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        # ValueError: a name with a zero byte in it, which no device has.
        raise _cannot_open(port, error) from error
    try:
        fcntl.ioctl(fd, termios.TIOCEXCL)
        _make_raw(fd, speed)
    except (OSError, termios.error) as error:
        os.close(fd)
        raise DriverError(
            f"port {port}", f"it is no serial port ({error.args[-1]})", "a terminal device",
            "give the meter's device, see: ls -l /dev/serial/by-id",
        ) from error  # fmt: skip
    return fd


async def serial_bytes(port: str, baud: int, framing: Framing = "8N1") -> AsyncGenerator[bytes, None]:
    """Bytes as they arrive, for ever: a port that goes away is opened again when it is back.

    Close the generator, or cancel the task, to release the port.

    Args:
        port, baud: see `open_tty`.
        framing: "7E1" checks and strips the parity bit of every byte.
    Raises:
        DriverError: the port cannot be opened the first time.
    """
    fd = open_tty(port, baud)
    while True:
        async with trio.lowlevel.FdStream(fd) as stream:
            try:
                # b"" and an error both mean that the other end is gone.
                while data := await stream.receive_some(_READ_BYTES):
                    yield strip_parity(data) if framing == "7E1" else data
                log.warning("port %s: unplugged, waiting for it", port)
            except trio.BrokenResourceError as error:
                log.warning("port %s: unplugged (%s), waiting for it", port, error.__cause__)
            finally:
                _let_others_open(fd)
        fd = await _reopen(port, baud)
        log.info("port %s: back", port)


def _let_others_open(fd: int) -> None:
    """Take back what `open_tty` claimed: a pseudo-terminal remembers it for as long as its other end
    is open, and whoever is not root could never open it again."""
    # A device that was unplugged has forgotten it by itself.
    with contextlib.suppress(OSError):
        fcntl.ioctl(fd, termios.TIOCNXCL)


def strip_parity(data: bytes) -> bytes:
    """Seven-bit bytes from bytes with an even parity bit on top; `BAD_PARITY` where it is wrong."""
    return data.translate(_EVEN_PARITY)


async def _reopen(port: str, baud: int) -> int:
    delay = FIRST_RETRY_S
    while True:
        await trio.sleep(delay)
        try:
            return open_tty(port, baud)
        except DriverError as error:
            log.debug("%s", error)
        delay = min(2 * delay, LAST_RETRY_S)


def _make_raw(fd: int, speed: int) -> None:
    control = termios.CS8 | termios.CREAD | termios.CLOCAL
    _, _, _, _, _, _, characters = termios.tcgetattr(fd)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
    # What came before we listened may begin in mid-telegram.
    termios.tcflush(fd, termios.TCIFLUSH)


def _cannot_open(port: str, error: OSError | ValueError) -> DriverError:
    number, reason = (error.errno or 0, error.strerror) if isinstance(error, OSError) else (0, str(error))
    found, expected, remedy = _OPEN_ERRORS.get(
        number, (f"cannot be opened ({reason})", "a serial port", "check cable and port")
    )
    return DriverError(f"port {port}", found, expected, remedy)


_LIST_PORTS: Final = "plug the reader in and look for its name with: ls -l /dev/serial/by-id"
_OPEN_ERRORS: Final = {
    errno.ENOENT: ("there is no such device", "the name of a serial port", _LIST_PORTS),
    errno.ENODEV: ("there is no such device", "the name of a serial port", _LIST_PORTS),
    errno.ENXIO: ("nothing is connected to it", "a serial port", _LIST_PORTS),
    errno.EISDIR: ("it is a directory", "the name of a serial port", _LIST_PORTS),
    errno.EACCES: (
        "no permission to open it",
        "a user of the group dialout",
        "sudo usermod -aG dialout $USER, then log in again (a service: SupplementaryGroups=dialout)",
    ),
    errno.EBUSY: (
        "another program has it open",
        "a port of its own for every meter",
        "stop the other program, or the second meter section with this port",
    ),
}

_EVEN_PARITY: Final = bytes(byte & 0x7F if byte.bit_count() % 2 == 0 else BAD_PARITY for byte in range(256))
