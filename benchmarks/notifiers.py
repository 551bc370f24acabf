"""Devices that notify once a second each, and how long the daemon takes to acknowledge that: until the value
is on the disk.

    python -m benchmarks.notifiers PORT DEVICES SECONDS

prints READY once all are observed, runs for so many seconds or until SIGTERM, and then prints a JSON list:
the milliseconds that each notification took, in order.
"""

import json
import signal
import sys
import time
from collections import deque
from typing import Final

from .wire import ACK, Device, Load

READY: Final = "notifiers are ready"
EVERY_S: Final = 1.0
GIVEN_UP_S: Final = 10.0


class Paced(Load):
    """A load that keeps to a pace whatever the daemon does: what is late is not left out."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__(port, count)
        self.took_ms: list[float] = []
        self.ended = False
        self._said: dict[Device, tuple[int, list[float]]] = {}

    def keep_on(self, seconds: float) -> None:
        """Notify in turn, evenly over each second, until the time is over or somebody ends it."""
        began = time.perf_counter()
        step_s = EVERY_S / len(self.devices)
        turns = deque(self.devices)
        sent = 0
        while not self.ended and (now := time.perf_counter()) < began + seconds:
            due = began + sent * step_s
            if now >= due:
                # From when it was to be sent: a generator that is late must not hide what the daemon is.
                self._notify(turns[0], due)
                turns.rotate(-1)
                sent += 1
                continue
            self._hear(due - now)
        self._hear(1.0)

    def _notify(self, device: Device, due: float) -> None:
        if device not in self._said:
            device.notify()
            self._said[device] = device.message_id, []
        # One that cannot go before the one ahead of it is acknowledged has waited since it was due.
        waiting = self._said[device][1]
        waiting.append(due)
        if due > waiting[0] + GIVEN_UP_S:
            raise SystemExit(f"{device.name} was not acknowledged within {GIVEN_UP_S:g} s")

    def _hear(self, wait_s: float) -> None:
        for fd, _ in self.poll.poll(wait_s):
            device = self.by_fd[fd]
            for data in device.hear():
                message_id, waiting = self._said.get(device, (-1, []))
                if data[0] == ACK and int.from_bytes(data[2:4], "big") == message_id:
                    now = time.perf_counter()
                    self.took_ms += [(now - due) * 1000 for due in waiting]
                    del self._said[device]
                elif 0 < data[1] < 32:
                    device.answer(data)


def main(port: int, count: int, seconds: float) -> None:
    load = Paced(port, count)
    load.prepare()
    load.drain(1.0)
    signal.signal(signal.SIGTERM, lambda *_: setattr(load, "ended", True))
    print(READY, flush=True)
    load.keep_on(seconds)
    print(json.dumps(load.took_ms))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
