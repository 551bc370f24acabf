"""The Information Reporting interface: values on the disk once they are acknowledged."""

from tests.interop.daemon import Daemon
from tests.peer import ACK, CON, EMPTY, NON, RST, SENML_CBOR, Frame, until

from .thermometer import TEMPERATURE, WATCHED, ready, senml, thermometer


async def test_observation_and_notification(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-301"""
    async with thermometer(daemon.coap_port, "int-301") as client:
        await ready(daemon, client)
        for value in (20.0, 20.5, 21.0):
            notification = client.notify(TEMPERATURE, value)
            assert await client.reply() == Frame(ACK, EMPTY, notification.mid)
            # The acknowledgement came after the commit: the row is there now.
            assert daemon.store.values("int-301", TEMPERATURE)[-1] == value
        assert daemon.store.values("int-301", TEMPERATURE) == [21.5, 20.0, 20.5, 21.0]


async def test_non_confirmable_notifications(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-301: as Anjay and wakaama send them"""
    async with thermometer(daemon.coap_port, "int-301-non") as client:
        await ready(daemon, client)
        for value in (1.0, 2.0):
            client.notify(TEMPERATURE, value, kind=NON)
        await until(lambda: daemon.store.values("int-301-non", TEMPERATURE) == [21.5, 1.0, 2.0])
        client.peer.send(Frame(CON, EMPTY, 0xFFFF))
        assert await client.reply() == Frame(RST, EMPTY, 0xFFFF), "no word before this one"


async def test_a_lost_acknowledgement(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-301: the repetition is acknowledged and not kept again"""
    async with thermometer(daemon.coap_port, "int-301-lost") as client:
        await ready(daemon, client)
        notification = client.notify(TEMPERATURE, 5.0)
        for _ in range(3):
            assert await client.reply() == Frame(ACK, EMPTY, notification.mid)
            client.peer.send(notification)
        await client.reply()
        assert daemon.store.values("int-301-lost", TEMPERATURE) == [21.5, 5.0]


async def test_an_observation_that_nobody_knows(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-302: it is cancelled by a reset"""
    async with thermometer(daemon.coap_port, "int-302") as client:
        await ready(daemon, client)
        notification = client.peer.notify(b"stranger", 1, senml({TEMPERATURE: 1.0}))
        assert await client.reply() == Frame(RST, EMPTY, notification.mid)
        assert daemon.store.values("int-302", TEMPERATURE) == [21.5]


async def test_an_observation_that_the_device_ends(daemon: Daemon) -> None:
    """RFC 7641 3.2: an error is the last notification."""
    async with thermometer(daemon.coap_port, "ended") as client:
        await ready(daemon, client)
        last = client.peer.notify(client.observed[TEMPERATURE], None, content_format=None, code=0x84)
        assert await client.reply() == Frame(ACK, EMPTY, last.mid)
        assert set(daemon.store.observations("ended")) == WATCHED - {TEMPERATURE}


async def test_a_notification_from_another_address(daemon: Daemon) -> None:
    """A token alone is no identity: it stays unanswered, and nothing is kept."""
    async with (
        thermometer(daemon.coap_port, "robbed") as client,
        thermometer(daemon.coap_port, "thief") as thief,
    ):
        await ready(daemon, client)
        await thief.register()
        thief.peer.notify(client.observed[TEMPERATURE], 99, senml({TEMPERATURE: 1000.0}))
        assert (await thief.update()).status == "2.04", "no word before this one"
        assert daemon.store.values("robbed", TEMPERATURE) == [21.5]


async def test_send_operation(daemon: Daemon) -> None:
    """LightweightM2M-1.1-int-306"""
    async with thermometer(daemon.coap_port, "int-306") as client:
        await ready(daemon, client)
        reply = await client.send({TEMPERATURE: 1.5, "/3/0/9": 70, "/3303/0/5701": "K"})
        assert (reply.status, reply.options, reply.payload) == ("2.04", (), b"")
        # The answer came after the commit: the rows are there now.
        assert daemon.store.values("int-306", TEMPERATURE) == [21.5, 1.5]
        assert daemon.store.values("int-306", "/3/0/9")[-1] == 70
        assert daemon.store.values("int-306", "/3303/0/5701")[-1] == "K"


async def test_a_send_repeated(daemon: Daemon) -> None:
    """Its answer was lost: the same answer again, and one row."""
    async with thermometer(daemon.coap_port, "send-again") as client:
        await ready(daemon, client)
        request = client.peer.request(2, "/dp", senml({TEMPERATURE: 9.0}), content_format=SENML_CBOR)
        first = await client.ask(request)
        client.peer.send(request)
        assert await client.ask(request) == first
        assert daemon.store.values("send-again", TEMPERATURE) == [21.5, 9.0]
