"""Serial meters over real pseudo-terminals: read, damaged, left, unplugged and plugged back."""

from __future__ import annotations

import errno
import fcntl
import os
import termios
import tty
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from drivers import serial_port
from drivers.codecs.dsmr import DsmrCodec
from drivers.driver import DriverError, Measurement, driver
from drivers.emulated_telegrams import PRODUCED_CHANNEL, Kind
from drivers.emulator import run_emulated_meter
from drivers.home import Registers
from drivers.serial_port import BAD_PARITY, open_tty, serial_bytes, strip_parity
from drivers.simulated import SimulatedHome
from tests.drivers.test_vectors import VECTORS, load

NOON_S = 1_767_225_600 + 12 * 3600
HOME = SimulatedHome(3, pv_peak_w=5000)
INTERVAL_S = 0.01  # real time: a pseudo-terminal knows no virtual clock
PATIENCE_S = 20.0  # a machine under load still gets there


@pytest.fixture(autouse=True)
def fast_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial_port, "FIRST_RETRY_S", 0.01)


def minute_by_minute() -> Callable[[], Registers]:
    """A home whose time goes on by a minute with every telegram."""
    times: Iterator[int] = iter(range(NOON_S, NOON_S + 10**6, 60))
    return lambda: HOME.registers(next(times))


@asynccontextmanager
async def plugged_in(kind: Kind, link: Path, damage_every: int = 0) -> AsyncGenerator[str, None]:
    """An emulated meter, plugged in for the length of the block."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:

            async def meter(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
                await run_emulated_meter(
                    kind,
                    minute_by_minute(),
                    INTERVAL_S,
                    link=link,
                    damage_every=damage_every,
                    task_status=task_status,
                )

            yield await nursery.start(meter)
            nursery.cancel_scope.cancel()


def section(link: Path, **more: Any) -> dict[str, Any]:
    return {"metering_point": "garage", "port": str(link), "produced_channel": PRODUCED_CHANNEL, **more}


async def take(count: int, kind: Kind, config: dict[str, Any]) -> list[Measurement]:
    taken: list[Measurement] = []
    async with aclosing(driver(kind).measurements(config, lambda: 4711)) as measurements:
        async for measurement in measurements:
            taken.append(measurement)
            if len(taken) == count:
                break
    return taken


def assert_is_home(measurement: Measurement) -> None:
    assert measurement.meter_time_s is not None
    state = HOME.registers(measurement.meter_time_s)
    assert (measurement.import_wh, measurement.export_wh) == (state.import_wh, state.export_wh)
    assert (measurement.produced_wh, measurement.power_w) == (state.produced_wh, state.power_w)
    assert (measurement.metering_point, measurement.time_s) == ("garage", 4711)


@pytest.mark.parametrize("kind", ["dsmr", "sml"])
async def test_a_meter_is_read_telegram_by_telegram(kind: Kind, tmp_path: Path) -> None:
    async with plugged_in(kind, tmp_path / "meter") as port:
        assert os.readlink(port).startswith("/dev/pts/")
        taken = await take(5, kind, section(tmp_path / "meter"))
    for measurement in taken:
        assert_is_home(measurement)
    times = [measurement.meter_time_s for measurement in taken]
    assert times == sorted(times, key=lambda time: time or 0) and len(set(times)) == 5
    assert not (tmp_path / "meter").is_symlink()  # the link goes with the meter


@pytest.mark.parametrize("kind", ["dsmr", "sml"])
async def test_damaged_telegrams_are_left_out_and_the_rest_is_right(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with plugged_in(kind, tmp_path / "meter", damage_every=2):
        taken = await take(4, kind, section(tmp_path / "meter"))
    for measurement in taken:
        assert_is_home(measurement)
        # Telegram n is of minute n - 1, and every second one was damaged.
        assert (measurement.meter_time_s or 0) // 60 % 2 == NOON_S // 60 % 2
    assert f"meter garage ({tmp_path / 'meter'}): 1 damaged telegrams so far" in caplog.text


@pytest.mark.parametrize("kind", ["dsmr", "sml"])
async def test_a_reader_may_leave_and_come_back(kind: Kind, tmp_path: Path) -> None:
    async with plugged_in(kind, tmp_path / "meter"):
        first = await take(2, kind, section(tmp_path / "meter"))
        await trio.sleep(5 * INTERVAL_S)
        second = await take(2, kind, section(tmp_path / "meter"))
    for measurement in first + second:
        assert_is_home(measurement)
    assert (second[0].meter_time_s or 0) > (first[-1].meter_time_s or 0)


@pytest.mark.parametrize("kind", ["dsmr", "sml"])
async def test_a_meter_may_be_unplugged_and_plugged_back(kind: Kind, tmp_path: Path) -> None:
    """The name stays, the device behind it is a new one, as with /dev/serial/by-id."""
    send, receive = trio.open_memory_channel[Measurement](100)

    async def read() -> None:
        async with aclosing(driver(kind).measurements(section(tmp_path / "meter"), lambda: 4711)) as all_:
            async for measurement in all_:
                send.send_nowait(measurement)

    async with trio.open_nursery() as nursery:
        async with plugged_in(kind, tmp_path / "meter") as port:
            first_device = os.readlink(port)
            placeholder = os.open(first_device, os.O_RDWR | os.O_NOCTTY)  # keeps the number taken
            nursery.start_soon(read)
            assert_is_home(await receive.receive())
        while True:  # what was read before the plug was pulled
            try:
                receive.receive_nowait()
            except trio.WouldBlock:
                break
        async with plugged_in(kind, tmp_path / "meter") as port:
            assert os.readlink(port) != first_device
            for _ in range(3):
                assert_is_home(await receive.receive())
            nursery.cancel_scope.cancel()
    os.close(placeholder)


async def test_cancelling_a_reader_releases_the_port(tmp_path: Path) -> None:
    async with plugged_in("sml", tmp_path / "meter"):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(5):
            with trio.move_on_after(3 * INTERVAL_S):
                await take(1000, "sml", section(tmp_path / "meter"))
        assert len(os.listdir("/proc/self/fd")) == before


async def test_a_port_is_opened_for_us_alone_and_raw() -> None:
    master, slave = os.openpty()
    fd = open_tty(os.ttyname(slave), 9600)
    try:
        exclusive = bytearray(4)
        fcntl.ioctl(fd, _TIOCGEXCL, exclusive)
        assert int.from_bytes(exclusive, "little") == 1
        _, output, control, local, _, speed, _ = termios.tcgetattr(fd)
        assert (output, local, speed) == (0, 0, termios.B9600)
        assert control & termios.CSIZE == termios.CS8 and not control & termios.PARENB
    finally:
        for each in (fd, slave, master):
            os.close(each)


def with_parity(telegram: bytes) -> bytes:
    """As a meter with 7 data bits and even parity sends it, seen through 8 bits."""
    return bytes(byte | (byte.bit_count() % 2) << 7 for byte in telegram)


def version_2() -> bytes:
    return bytes(load(next(path for path in VECTORS if path.stem == "dsmr_v2_no_checksum"))["bytes"])


async def test_a_version_2_meter_with_7_bits_and_parity_is_read_with_parity_in_software() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    config = {"metering_point": "m", "port": os.ttyname(slave), "baud": 9600, "framing": "7E1"}

    async def send() -> None:
        # Opening the port throws away what came before: wait until it is being read.
        await trio.testing.wait_all_tasks_blocked()
        os.write(master, with_parity(version_2()))

    try:
        async with aclosing(driver("dsmr").measurements(config)) as measurements:
            with trio.fail_after(PATIENCE_S):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send)
                    measurement = await anext(measurements)
        assert (measurement.import_wh, measurement.power_w) == (1_219_456, 410)
    finally:
        os.close(slave)
        os.close(master)


def test_without_checksum_one_byte_of_wrong_parity_spoils_the_telegram() -> None:
    line = bytearray(with_parity(version_2()))
    line[line.index(with_parity(b"812.345"))] ^= 0x01
    reader = DsmrCodec()
    assert reader.feed(strip_parity(bytes(line))) == []
    assert reader.counters.malformed == 1


def test_parity_is_stripped_where_right_and_marked_where_wrong() -> None:
    for byte in range(128):
        sealed = byte | (byte.bit_count() % 2) << 7
        assert strip_parity(bytes([sealed, sealed ^ 0x80])) == bytes([byte, BAD_PARITY])


@pytest.mark.parametrize(
    ("port", "baud", "found", "remedy"),
    [
        ("/nowhere/ttyUSB0", 9600, "there is no such device", "ls -l /dev/serial/by-id"),
        ("/tmp", 9600, "it is a directory", "ls -l /dev/serial/by-id"),
        ("/dev/tty\0USB0", 9600, "embedded null byte", "check cable and port"),
        ("/dev/null", 9600, "it is no serial port", "ls -l /dev/serial/by-id"),
        ("/dev/null", 12345, "12345 baud", "correct baud"),
    ],
)
async def test_a_wrong_port_is_named_with_a_remedy(port: str, baud: int, found: str, remedy: str) -> None:
    with pytest.raises(DriverError) as caught:
        await anext(serial_bytes(port, baud))
    assert caught.value.place == f"port {port}"
    assert found in caught.value.found and remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("number", "found", "remedy"),
    [
        (errno.EACCES, "no permission to open it", "usermod -aG dialout"),
        (errno.EBUSY, "another program has it open", "stop the other program"),
        (errno.EIO, "cannot be opened (Input/output error)", "check cable and port"),
    ],
)
def test_what_the_system_refuses_is_explained(
    monkeypatch: pytest.MonkeyPatch, number: int, found: str, remedy: str
) -> None:
    """Refused by a stand-in: as root, no port refuses anything."""

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("drivers.serial_port.os.open", refuse)
    with pytest.raises(DriverError) as caught:
        open_tty("/dev/ttyUSB0", 9600)
    assert caught.value.found == found and remedy in caught.value.remedy


_TIOCGEXCL = 0x80045440
