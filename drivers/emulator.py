"""Emulator: an emulated meter on a pseudo-terminal. No energy flows here.

For demonstrations and tests of the whole path from a serial line on: the
telegrams are real (`drivers.emulated_telegrams`), the line is a real terminal
device, only the meter is not one, and its telegrams say so. Like a meter it
sends whether or not somebody listens; what nobody hears is lost.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import trio

from drivers.driver import DriverError
from drivers.emulated_telegrams import TELEGRAMS, Kind
from drivers.home import Registers


class _PortReady(Protocol):
    """What `nursery.start` hands in; told the port as soon as it can be read."""

    def started(self, value: str) -> None: ...


async def run_emulated_meter(
    kind: Kind,
    source: Callable[[], Registers],
    interval_s: float,
    *,
    link: Path | None = None,
    number: int = 1,
    damage_every: int = 0,
    task_status: _PortReady = trio.TASK_STATUS_IGNORED,
) -> None:
    """Send a telegram of `source()` every `interval_s` of real time, until cancelled.

    Started with `nursery.start`, gives the name of the port to read. The reader
    may come, go and come back.

    Args:
        kind: "dsmr" or "sml".
        source: the registers to send, usually `home.registers(clock())`.
        link: a symbolic link to make to the port, and to remove at the end; it
            plays the part of /dev/serial/by-id, and may point to an earlier port.
        number: the meter's own number.
        damage_every: one byte of every n-th telegram is turned over; 0 for none.
    """
    with _pseudo_terminal(link) as (master, port):
        task_status.started(port)
        sent = 0
        while True:
            sent += 1
            telegram = TELEGRAMS[kind](source(), number)
            if damage_every and sent % damage_every == 0:
                telegram = _damaged(telegram, sent)
            _send(master, telegram)
            await trio.sleep(interval_s)


@contextlib.contextmanager
def _pseudo_terminal(link: Path | None) -> Iterator[tuple[int, str]]:
    """A raw pseudo-terminal: our end as a non-blocking descriptor, and the name of the reader's end."""
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)
        port = os.ttyname(slave)
        # From now on our end sees a hang-up whenever no reader has the port open.
        os.close(slave)
        with _linked(link, port) as name:
            yield master, name
    finally:
        os.close(master)


@contextlib.contextmanager
def _linked(link: Path | None, port: str) -> Iterator[str]:
    if link is None:
        yield port
        return
    # Made beside it and moved over it, so that a reader never finds it half made.
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    try:
        fresh.symlink_to(port)
        fresh.replace(link)
    except OSError as error:
        raise DriverError(
            str(link), f"no link can be made there ({error.strerror})", "a name in a directory of ours",
            "choose another place",
        ) from error  # fmt: skip
    try:
        yield str(link)
    finally:
        # Another emulator may have taken the name over since.
        if os.path.lexists(link) and os.readlink(link) == port:
            link.unlink()


def _damaged(telegram: bytes, sent: int) -> bytes:
    """One byte turned over, somewhere in the second half, elsewhere every time."""
    at = len(telegram) // 2 + sent * _STRIDE % (len(telegram) // 2 - _TAIL)
    return telegram[:at] + bytes([telegram[at] ^ 0xFF]) + telegram[at + 1 :]


def _send(master: int, telegram: bytes) -> None:
    """Write as much as the line takes; what does not fit is lost, as on a real line."""
    if _has_reader(master):
        try:
            os.write(master, telegram)
        except BlockingIOError:
            pass  # nobody has read for a while: the telegram is lost, the next one is not
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the reader has just gone
                raise


def _has_reader(master: int) -> bool:
    poll = select.poll()
    poll.register(master, select.POLLOUT)
    return not any(events & select.POLLHUP for _, events in poll.poll(0))


# A prime, so that the damaged byte wanders over the telegram.
_STRIDE: Final = 37
# The line end behind a P1 checksum is not covered by it.
_TAIL: Final = 8
