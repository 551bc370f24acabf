"""A fleet for tests of updates: each device that is registered has Firmware Update, SENSOR in two parts."""

from dataclasses import replace

from flownexus_appliance.lwm2m.registration import RegisteredObject, Registration

from .house import SENSOR, FakeFleet


class UpdatableFleet(FakeFleet):
    """With object 5, and with object 33629 too where a device has parts."""

    __slots__ = ()

    def registration(self, endpoint: str) -> Registration | None:
        one = FakeFleet.registration(self, endpoint)
        if one is None:
            return None
        parts = {33629: RegisteredObject("1.0", (0, 1))} if endpoint == SENSOR else {}
        return replace(one, objects={**one.objects, 5: RegisteredObject("1.0", (0,)), **parts})
