"""Serial meter: the drivers `dsmr` and `sml`, a serial port with a codec behind it.

```toml
[[meter]]
driver = "dsmr"                  # or "sml"
metering_point = "garage"
port = "/dev/serial/by-id/usb-FTDI_P1_cable-if00-port0"
```
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import msgspec

from drivers.codecs import codec
from drivers.codecs.telegram import Codec, measure
from drivers.driver import Clock, Driver, Measurement, MeterConfig, read_config, system_clock
from drivers.serial_port import Framing, serial_bytes

log = logging.getLogger(__name__)


class SerialMeterConfig(MeterConfig, frozen=True, kw_only=True):
    """Keys of a serial meter's section.

    Fields:
        port: device name, best below /dev/serial/by-id.
        baud: line speed; 0 means the usual one of the protocol.
        framing: "8N1", or "7E1" (with baud 9600) for P1 ports before version 4.
        channel: OBIS channel of the grid meter (the B in A-B:C.D.E).
        produced_channel: where the generation meter is found if it speaks
            through this one: an M-Bus channel of a P1 port, or an OBIS channel.
    """

    port: str
    baud: int = 0
    framing: Framing = "8N1"
    channel: int = 0
    produced_channel: int | None = None


class SerialMeter:
    """The driver of a meter that pushes telegrams on a serial line.

    Args:
        name: of the driver and of its codec.
        baud: the usual line speed of the protocol.
    """

    config = SerialMeterConfig

    def __init__(self, name: str, baud: int) -> None:
        self.name = name
        self._baud = baud

    async def measurements(
        self, config: Mapping[str, Any], clock: Clock = system_clock
    ) -> AsyncGenerator[Measurement, None]:
        """One measurement per telegram; see `drivers.driver.Driver`.

        Telegrams without any value of ours (a heat meter's on its own) are passed over.
        """
        meter = read_config(config, SerialMeterConfig)
        reader = codec(self.name)
        chunks = serial_bytes(meter.port, meter.baud or self._baud, meter.framing)
        async with aclosing(chunks):
            async for chunk in chunks:
                damaged = _damaged(reader)
                telegrams = reader.feed(chunk)
                if _damaged(reader) > damaged:
                    _report(meter, reader)
                for telegram in telegrams:
                    measurement = measure(
                        telegram,
                        meter.metering_point,
                        channel=meter.channel,
                        produced_channel=meter.produced_channel,
                    )
                    if _says_something(measurement):
                        yield msgspec.structs.replace(measurement, time_s=clock())


def _damaged(reader: Codec) -> int:
    return reader.counters.bad_checksum + reader.counters.malformed


def _report(meter: SerialMeterConfig, reader: Codec) -> None:
    """Say that telegrams were damaged; ever more rarely, so that a bad cable does not fill the log."""
    if (count := _damaged(reader)).bit_count() == 1:  # 1, 2, 4, 8 ...
        log.warning(
            "meter %s (%s): %d damaged telegrams so far, %d good ones",
            meter.metering_point, meter.port, count, reader.counters.telegrams,
        )  # fmt: skip


def _says_something(measurement: Measurement) -> bool:
    readings = (measurement.import_wh, measurement.export_wh, measurement.produced_wh, measurement.power_w)
    return any(reading is not None for reading in readings)


# P1 since version 4 runs at 115200 baud; optical SML ports at 9600.
dsmr: Final[Driver] = SerialMeter("dsmr", 115200)
sml: Final[Driver] = SerialMeter("sml", 9600)
