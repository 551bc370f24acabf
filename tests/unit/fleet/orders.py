"""What the tests of operations share: orders, a device that sleeps, what is left in memory and on disk."""

from flownexus_appliance.db.operations import EndpointOperation
from flownexus_appliance.lwm2m.operations import Operation
from flownexus_appliance.lwm2m.presence import AWAKE_WINDOW_S

from .conftest import HOME, House, operation

BARE = b"</1/0>"
TEMPERATURE = "/3303/0/5700"


def read(number: int = 0) -> Operation:
    return operation("read", f"/10/0/{number}")


def execute() -> Operation:
    return operation("execute", "/3/0/4")


async def sleeper(house: House, *query: str, version: str = "1.1") -> str:
    """A Queue Mode device that has fallen asleep; its registration's id."""
    registration_id = await house.register("one", HOME, BARE, version, 86_400, *(query or ("b=U", "Q")))
    await house.onboarded()
    house.clock.advance(AWAKE_WINDOW_S)
    await house.told.presence("one", "sleeping")
    return registration_id


def told(house: House, asked: EndpointOperation) -> list[str]:
    """The states that the world was told of, in order."""
    return [e.data["status"] for e in house.told.bus if e.name == "operation" and e.data["id"] == asked.id]


def attempts(house: House, asked: EndpointOperation) -> list[tuple[int, bool, str]]:
    """Number, whether it ended, CoAP code."""
    return [
        (number, bool(ended_ms), code)
        for number, ended_ms, code in house.rows(
            "SELECT number, ended_ms, code FROM operation_attempt WHERE operation_id = ? ORDER BY number",
            asked.id,
        )
    ]


def nothing_left(house: House) -> bool:
    engine_ = house.fleet.operations
    return not (
        engine_._lines or engine_._unfinished or engine_._settling or engine_._owed or engine_._awaited
    )
