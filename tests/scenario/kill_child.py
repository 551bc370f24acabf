"""Stores what a few devices say for as long as it lives, and tells of each message once it is on disk.

The other half of test_kill.py, which ends it: `kill_child.py FILE RUN`. A line is a JSON list:
endpoint, time in ms, temperature, text.
"""

import asyncio
import json
import os
import random
import sys
from pathlib import Path as FilePath

from flownexus_appliance.db.store import ResourceType, Store
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record

DEVICES = 8
MESSAGES_A_DEVICE = 20
RUN_MS = 1_000_000
TEMPERATURE = Path.of(3303, 0, 5700)
TEXT = Path.of(3, 0, 0)


async def speak(store: Store, run: int, number: int) -> None:
    chance = random.Random(f"{run} {number}")
    step = 0
    while True:
        # Again and again a device that was never seen: the tables it refers to grow too.
        endpoint = f"run {run} device {number}.{step // MESSAGES_A_DEVICE}"
        moment = run * RUN_MS + step
        temperature, text = chance.uniform(-40, 85), f"{chance.random()}"
        records = [
            Record(TEMPERATURE, temperature, DataType.FLOAT, moment),
            Record(TEXT, text, DataType.STRING, moment),
        ]
        store.add_samples(endpoint, records, moment)
        await asyncio.shield(store.commit())
        # One write a line, past every buffer of this process: it is told or it is not.
        os.write(1, f"{json.dumps([endpoint, moment, temperature, text])}\n".encode())
        step += 1


async def main(path: FilePath, run: int) -> None:
    store = Store(path, lambda path, data_type: ResourceType(f"{path}", data_type, ""))
    await store.start()
    await asyncio.gather(*(speak(store, run, number) for number in range(DEVICES)))


if __name__ == "__main__":
    asyncio.run(main(FilePath(sys.argv[1]), int(sys.argv[2])))
