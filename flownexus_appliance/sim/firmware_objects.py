"""The Firmware Update objects of a simulated device: their models, and how they leave the factory.

LwM2M Core 1.1.1 appendix E.6 (object 5); object 33629 as nRF Connect SDK and Anjay define it.
"""

from typing import Final

from ..lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    COMPONENT_NAME,
    COMPONENT_VERSION,
    DELIVERY,
    FIRMWARE_UPDATE,
    PACKAGE,
    PACKAGE_URI,
    PROTOCOLS,
    RESULT,
    STATE,
    DeviceState,
    UpdateResult,
)
from ..lwm2m.model import ModelSet, ObjectDefinition, ResourceDefinition
from ..lwm2m.values import DataType
from .objects import Stored
from .options import SimOptions

# Resources of Firmware Update beside those of `lwm2m/firmware.py`; the last is of 33629.
PACKAGE_NAME: Final = 6
PACKAGE_VERSION: Final = 7
CANCEL: Final = 10
LINKED: Final = 16
_CONFLICTING: Final = 17
# The instances of 33629: the first is what the version of the device is of.
COMPONENTS: Final = ("application", "modem")
Instances = dict[tuple[int, int], dict[int, Stored]]
MODEM_VERSION: Final = "2.0.0"


def advanced_model(registry: ModelSet) -> ObjectDefinition:
    """Object 33629, which the registry does not have: Firmware Update 1.1, once for each component."""
    base = registry.object(FIRMWARE_UPDATE, "1.1")
    assert base is not None
    more = (
        ResourceDefinition(COMPONENT_NAME, "Component Name", "R", DataType.STRING, False, False),
        ResourceDefinition(COMPONENT_VERSION, "Current Version", "R", DataType.STRING, False, True),
        ResourceDefinition(LINKED, "Linked Instances", "R", DataType.OBJLNK, True, False),
        ResourceDefinition(_CONFLICTING, "Conflicting Instances", "R", DataType.OBJLNK, True, False),
    )
    return ObjectDefinition(
        ADVANCED_FIRMWARE_UPDATE,
        "1.0",
        base.lwm2m_version,
        "Advanced Firmware Update",
        True,
        False,
        {**base.resources, **{resource.resource_id: resource for resource in more}},
    )


def firmware_values(options: SimOptions) -> Instances:
    """The instances that a device has, with their first values."""
    protocols = options.firmware.protocols(options.credentials is not None)
    found: Instances = {}
    for number in options.firmware.objects:
        components = COMPONENTS if number == ADVANCED_FIRMWARE_UPDATE else ("",)
        for instance, component in enumerate(components):
            resources: dict[int, Stored] = {
                PACKAGE: b"",
                PACKAGE_URI: "",
                STATE: int(DeviceState.IDLE),
                RESULT: int(UpdateResult.INITIAL),
                PACKAGE_NAME: "",
                PACKAGE_VERSION: "",
                PROTOCOLS: {n: int(protocol) for n, protocol in enumerate(protocols)},
                DELIVERY: int(options.firmware.method),
            }
            if component:
                resources[COMPONENT_NAME] = component
                resources[COMPONENT_VERSION] = MODEM_VERSION if instance else options.firmware.version
                resources[LINKED] = {}
                resources[_CONFLICTING] = {}
            found[number, instance] = resources
    return found
