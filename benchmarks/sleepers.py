"""Sleeping simulated devices that note how soon they are asked after they wake.

    python -m benchmarks.sleepers PORT COUNT AWAKE_S WAKE_EVERY_S

runs until SIGTERM and then prints, as JSON, a list of milliseconds: for each Update that was followed by a
request, from the moment its 2.04 was here to the moment the request was.
"""

import asyncio
import json
import signal
import sys
from typing import Final

from flownexus_appliance.sim.device import Device
from flownexus_appliance.sim.fleet import Fleet
from flownexus_appliance.sim.options import SimOptions

# RFC 7252 3: the second byte is the code.
_CHANGED: Final = 0x44
_REQUESTS: Final = range(1, 32)

_receive: Final = Device.receive


class Notes:
    """When each device had the answer to its Update, and how long it then waited to be asked."""

    def __init__(self) -> None:
        self.answered: dict[int, float] = {}
        self.waited_ms: list[float] = []
        self.noting = False

    def receive(self, device: Device, data: bytes, now: float) -> None:
        if self.noting and data[1] == _CHANGED:
            self.answered[id(device)] = now
        elif data[1] in _REQUESTS:
            since = self.answered.pop(id(device), None)
            if since is not None:
                self.waited_ms.append((now - since) * 1000)
        _receive(device, data, now)


async def main(port: int, count: int, awake_s: float, wake_every_s: float) -> None:
    notes = Notes()

    def receive(device: Device, data: bytes, now: float) -> None:
        notes.receive(device, data, now)

    # A device has slots, so it is the class that is changed.
    Device.receive = receive  # type: ignore[assignment,method-assign]
    options = SimOptions(
        port=port,
        count=count,
        queue_mode=True,
        awake_s=awake_s,
        wake_period_s=wake_every_s,
        lifetime_s=3600,
        sample_period_s=600.0,
        deregister=False,
    )
    fleet = Fleet(options)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: setattr(notes, "noting", True))
    await fleet.start()
    print("started", flush=True)
    await stopped.wait()
    await fleet.stop()
    print(json.dumps(notes.waited_ms), flush=True)


if __name__ == "__main__":
    port, count, *periods = sys.argv[1:]
    asyncio.run(main(int(port), int(count), *map(float, periods)))
