"""Simulated devices with firmware, in a process of their own: several groups, each alike.

    python -m tests.interop.firmware_devices GROUPS.json

prints READY once all are started. A line on standard input has it answer with a line of JSON, how all devices
stand; SIGTERM ends it, and the devices say goodbye.
"""

import asyncio
import gc
import json
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from flownexus_appliance.lwm2m.firmware import UPDATE, DeliveryMethod
from flownexus_appliance.lwm2m.paths import Path as LwM2mPath
from flownexus_appliance.sim.credentials import PskPattern
from flownexus_appliance.sim.firmware import Firmware
from flownexus_appliance.sim.firmware_options import FirmwareOptions, Outcome
from flownexus_appliance.sim.fleet import Fleet
from flownexus_appliance.sim.options import SimOptions
from flownexus_appliance.sim.wire import Transmission

READY: Final = "devices are started"


@dataclass(frozen=True, slots=True)
class Group:
    """Devices `prefix-0001` and on, alike.

    `key` is hexadecimal, each device's own is derived from it; "" is plain CoAP. `version` "" leaves firmware
    out; `outcomes` are taken in turn. `ack_timeout_s` is of RFC 7252 4.8, and all else is as it is there.
    """

    prefix: str
    count: int
    host: str
    port: int
    key: str = ""
    version: str = "1.0.0"
    outcomes: tuple[str, ...] = (Outcome.SUCCESS.value,)
    method: DeliveryMethod = DeliveryMethod.PULL
    block_size: int = 1024
    block_s: float = 0.0
    push_block_size: int = 1024
    update_s: float = 1.0
    ack_timeout_s: float = 2.0
    sample_period_s: float = 60.0
    lifetime_s: int = 3600

    def name(self, index: int) -> str:
        return self._options.name(index)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(map(self.name, range(self.count)))

    def outcome(self, index: int) -> Outcome:
        return Outcome(self.outcomes[index % len(self.outcomes)])

    def psk(self, name: str) -> str:
        """The key of a device, hexadecimal."""
        return self._keys.of(name).key.hex()

    @property
    def _keys(self) -> PskPattern:
        return PskPattern("{name}", bytes.fromhex(self.key), derive=True)

    @property
    def _options(self) -> SimOptions:
        return SimOptions(prefix=self.prefix, count=self.count)

    def options(self) -> SimOptions:
        firmware = FirmwareOptions(
            version=self.version or "1.0.0",
            outcome=self.outcome,
            objects=(5,) if self.version else (),
            method=self.method,
            block_size=self.block_size,
            block_s=self.block_s,
            push_block_size=self.push_block_size,
            update_s=self.update_s,
        )
        return SimOptions(
            host=self.host,
            port=self.port,
            count=self.count,
            prefix=self.prefix,
            lifetime_s=self.lifetime_s,
            sample_period_s=self.sample_period_s,
            transmission=Transmission(ack_timeout_s=self.ack_timeout_s),
            credentials=self._keys if self.key else None,
            firmware=firmware,
        )


def write(file: Path, groups: Sequence[Group]) -> None:
    """Write what `read` reads."""
    file.write_text(json.dumps([asdict(group) for group in groups]), encoding="ascii")


def read(file: Path) -> list[Group]:
    found = []
    for entry in json.loads(file.read_text("ascii")):
        entry["outcomes"] = tuple(entry["outcomes"])
        entry["method"] = DeliveryMethod(entry["method"])
        found.append(Group(**entry))
    return found


def count_installs() -> Counter[Firmware]:
    """How often each device is told to install from now on, whatever it makes of it."""
    counts: Counter[Firmware] = Counter()
    execute = Firmware.execute

    def counted(firmware: Firmware, path: LwM2mPath, arguments: str, now: float) -> None:
        counts[firmware] += path[2] == UPDATE
        execute(firmware, path, arguments, now)

    # A device has slots, so it is the class that is changed.
    Firmware.execute = counted  # type: ignore[assignment,method-assign]
    return counts


def standing(fleets: Sequence[Fleet], installs: Counter[Firmware]) -> dict[str, Any]:
    """How all devices stand: what each one runs, has fetched, and how often it was told to install; and the
    counters of each group."""
    return {
        "devices": {
            device.name: {
                "version": device.firmware.version,
                "fetched": device.firmware.fetched,
                "installs": installs[device.firmware],
            }
            for fleet in fleets
            for device in fleet.devices
        },
        "groups": {fleet.options.prefix: asdict(fleet.statistics) for fleet in fleets},
    }


async def run(groups: Sequence[Group]) -> None:
    installs = count_installs()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    fleets = [Fleet(group.options()) for group in groups]
    async with AsyncExitStack() as stack:
        for fleet in fleets:
            await fleet.start()
            stack.push_async_callback(fleet.stop)
        # A full collection would stop all devices for so long that it shows in what is measured.
        gc.collect()
        gc.freeze()
        loop.add_reader(sys.stdin.fileno(), _answer, fleets, installs)
        print(READY, flush=True)
        await ended.wait()
        loop.remove_reader(sys.stdin.fileno())


def _answer(fleets: Sequence[Fleet], installs: Counter[Firmware]) -> None:
    if sys.stdin.readline():
        print(json.dumps(standing(fleets, installs)), flush=True)
    else:  # whoever asks is gone
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())


if __name__ == "__main__":
    asyncio.run(run(read(Path(sys.argv[1]))))
