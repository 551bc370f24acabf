"""The Registration interface, from outside."""

from tests.interop.daemon import Daemon
from tests.peer import LINKS, NON, POST, until

from .thermometer import OBJECTS, TEMPERATURE, WATCHED, thermometer


async def test_initial_registration(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-101"""
    async with thermometer(daemon.coap_port, "int-101") as client:
        reply = await client.register(lifetime_s=86_400)
        assert reply.location[0] == "rd"
        assert len(reply.location) == 2
        assert len(reply.location[1].encode()) <= 12, "Zephyr's option buffer"
        # The answer came after the commit: the row is there now.
        row = daemon.store.registration("int-101")
        assert row is not None
        assert row["id"] == reply.location[1]
        assert row["address"] == client.peer.address
        assert (row["lwm2m_version"], row["lifetime_s"], row["binding"], row["queue_mode"]) == (
            "1.1",
            86_400,
            "U",
            0,
        )
        assert row["objects"] == {1: [0], 3: [0], 3303: [0]}
        await until(lambda: set(daemon.store.observations("int-101")) == WATCHED)


async def test_registration_of_a_1_0_client(daemon: Daemon) -> None:
    """LightweightM2M-1.0-int-101"""
    async with thermometer(daemon.coap_port, "int-101-v10") as client:
        await client.register("b=UQ", version="1.0")
        row = daemon.store.registration("int-101-v10")
        assert row is not None
        assert (row["lwm2m_version"], row["binding"], row["queue_mode"]) == ("1.0", "U", 1)


async def test_registration_update(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-102"""
    async with thermometer(daemon.coap_port, "int-102") as client:
        await client.register()
        await until(lambda: set(daemon.store.observations("int-102")) == WATCHED)
        before = daemon.store.observations("int-102")
        assert (await client.update()).status == "2.04"
        assert (await client.update("lt=65")).status == "2.04"
        row = daemon.store.registration("int-102")
        assert row is not None
        assert row["lifetime_s"] == 65
        assert daemon.store.observations("int-102") == before, "an Update resets nothing"


async def test_registration_update_with_new_instances(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-102"""
    async with thermometer(daemon.coap_port, "int-102-links") as client:
        await client.register()
        await until(lambda: set(daemon.store.observations("int-102-links")) == WATCHED)
        client.values["/3303/1/5700"] = 4.5
        links = OBJECTS + b",</3303/1>"
        request = client.peer.request(POST, client.location, links, content_format=LINKS)
        assert (await client.ask(request)).status == "2.04"
        await until(lambda: daemon.store.values("int-102-links", "/3303/1/5700") == [4.5])


async def test_deregistration(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-103"""
    async with thermometer(daemon.coap_port, "int-103") as client:
        await client.register()
        reply = await client.deregister()
        assert (reply.status, reply.options, reply.payload) == ("2.02", (), b"")
        assert daemon.store.registration("int-103") is None
        assert daemon.store.observations("int-103") == {}
        assert "int-103" in daemon.store.endpoints(), "its history stays"
        assert (await client.update()).status == "4.04"
        assert (await client.send({TEMPERATURE: 1.0})).status == "4.00"


async def test_discarded_register_update(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-105"""
    async with thermometer(daemon.coap_port, "int-105") as client:
        client.location = "/rd/nosuchid01"
        assert (await client.update()).status == "4.04"
        await client.register()
        assert (await client.update()).status == "2.04"


async def test_a_second_registration_of_the_same_name(daemon: Daemon) -> None:
    """LwM2M Core 1.1.1 6.2.1: the newer registration takes the place of the older."""
    async with (
        thermometer(daemon.coap_port, "int-101-twice") as old,
        thermometer(daemon.coap_port, "int-101-twice") as new,
    ):
        await old.register()
        await new.register()
        assert (await old.update()).status == "4.04"
        assert (await old.send({TEMPERATURE: 1.0})).status == "4.00"
        assert (await new.update()).status == "2.04"
        assert (await new.send({TEMPERATURE: 2.0})).status == "2.04"
        row = daemon.store.registration("int-101-twice")
        assert row is not None
        assert row["address"] == new.peer.address


async def test_a_reboot_with_the_same_message_ids(daemon: Daemon) -> None:
    """A Zephyr simulated without a seed: the same Register, and its observations are gone."""
    async with thermometer(daemon.coap_port, "native-sim") as client:
        register = client.peer.register(
            ("lwm2m=1.1", "ep=native-sim", "lt=30"), OBJECTS, mid=1, token=b"12345678"
        )
        first = await client.ask(register)
        await until(lambda: set(daemon.store.observations("native-sim")) == WATCHED)
        tokens = daemon.store.observations("native-sim")
        client.peer.send(register)
        assert (await client.ask(register)).location == first.location
        await until(
            lambda: (
                set(daemon.store.observations("native-sim")) == WATCHED
                and set(daemon.store.observations("native-sim").values()).isdisjoint(tokens.values())
            )
        )


async def test_a_non_confirmable_register(daemon: Daemon) -> None:
    """Not what a client should do; it is answered in kind."""
    async with thermometer(daemon.coap_port, "non") as client:
        request = client.peer.register(("lwm2m=1.1", "ep=non"), OBJECTS, kind=NON)
        reply = await client.reply()
        assert (reply.kind, reply.token, reply.status) == (NON, request.token, "2.01")
