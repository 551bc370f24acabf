"""What the fleet tells the bus is what the description of the live stream says."""

import asyncio
import json

import msgspec
import pytest

from flownexus_appliance.http.stream import MESSAGES
from flownexus_appliance.lwm2m.operations import Kind, Operation
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import DEADLINE_S

from .conftest import HOME, House, plays_a_thermometer


@pytest.mark.parametrize("name", ["registration", "presence", "values", "operation", "observation"])
async def test_every_event_is_of_its_declared_type(house: House, name: str) -> None:
    house.wire.plays[HOME] = plays_a_thermometer
    registration_id = await house.register(links=b"</3/0>,</3303/0>")
    await house.onboarded()
    del house.wire.plays[HOME]
    await house.outcome(house.send_request({"/3303/0/5700": 21.5, "/3/0/0": "ACME"}))
    asked = await house.fleet.operations.ask("one", Operation(Kind.READ, (Path.of(3, 0, 9),)), "web")
    asking = asyncio.create_task(house.fleet.operations.finished(asked.id, DEADLINE_S))
    await house.fleet.operations.cancel(asked.id)
    await asking
    await house.deregister(registration_id)
    told = [event.data for event in house.told.bus if event.name == name]
    assert told
    for data in told:
        plain = json.loads(msgspec.json.encode(data))
        assert json.loads(msgspec.json.encode(msgspec.convert(plain, MESSAGES[name]))) == plain
