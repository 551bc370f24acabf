"""The security of the channel: who a device is over DTLS, and that it is nobody else."""

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.coap.dtls.engine import CLOSE_NOTIFY, DtlsError
from tests.interop.daemon import IMPOSTOR, REFUSED, Certificate, Credential, Daemon, Psk
from tests.peer import ACK, CON, DELETE, EMPTY, GET, POST, RST, Frame, until
from tests.secure_peer import chain, secure_peer

from .thermometer import (
    OBJECTS,
    TEMPERATURE,
    WATCHED,
    SecureThermometer,
    Thermometer,
    ready,
    secure_thermometer,
    senml,
    thermometer,
)

KINDS = ("psk", "certificate")
FORBIDDEN, NOT_FOUND = "4.03", "4.04"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_device_with_a_credential(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """LightweightM2M-1.1-int-401, LightweightM2M-1.1-int-403"""
    endpoint = f"int-40x-{kind}"
    credential = daemon.give(kind, endpoint, tmp_path)
    async with secure_thermometer(daemon.coaps_port, endpoint, credential) as client:
        await ready(daemon, client)
        row = daemon.store.registration(endpoint)
        assert row is not None
        assert row["address"] == client.peer.where
        assert row["session"].startswith("dtls-")
        notification = client.notify(TEMPERATURE, 20.0)
        assert await client.reply() == Frame(ACK, EMPTY, notification.mid)
        assert (await client.send({TEMPERATURE: 20.5})).status == "2.04"
        assert daemon.store.values(endpoint, TEMPERATURE) == [21.5, 20.0, 20.5]
        answer = await asyncio.to_thread(daemon.operate, endpoint, "read", "/1")
        assert answer.values == {"/1/0/1": 300}
        assert (await client.deregister()).status == "2.02"
    assert daemon.handshakes(endpoint) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_register_without_a_name(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """LwM2M Core 1.1.1 6.2.1: the name may be left out where the channel tells it."""
    endpoint = f"unsaid-{kind}"
    async with secure_thermometer(daemon.coaps_port, "", daemon.give(kind, endpoint, tmp_path)) as client:
        await client.register()
        await until(lambda: daemon.store.reporting(endpoint) == WATCHED)


def deeds(client: Thermometer) -> list[tuple[int, str]]:
    """All that can be asked for in a device's name, as code and path."""
    location = client.location
    return [(POST, "/rd"), (POST, location), (DELETE, location), (POST, "/bs"), (GET, "/bspack")]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_device_acts_only_as_itself(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """Register, Update, Deregister, notify, bootstrap; a Send has no name but that of its session."""
    victim, thief = f"victim-{kind}", f"thief-{kind}"
    theirs, own = (daemon.give(kind, name, tmp_path) for name in (victim, thief))
    async with (
        secure_thermometer(daemon.coaps_port, victim, theirs) as honest,
        secure_thermometer(daemon.coaps_port, thief, own) as client,
    ):
        await ready(daemon, honest)
        before = daemon.store.registration(victim), daemon.store.observations(victim)
        for code, path in deeds(honest):
            since = daemon.now
            query = (f"ep={victim}", "lwm2m=1.1")
            assert (
                await client.ask(client.peer.request(code, path, OBJECTS, query=query))
            ).status == FORBIDDEN
            daemon.wait_logged(IMPOSTOR, since, endpoint=victim, peer=client.peer.where)
        assert (await client.send({TEMPERATURE: -1.0})).status == "4.00", "who is not registered"
        await client.register()
        notification = client.peer.notify(honest.observed[TEMPERATURE], 99, senml({TEMPERATURE: -2.0}))
        assert await client.reply() == Frame(RST, EMPTY, notification.mid)
        daemon.wait_logged(IMPOSTOR, endpoint=victim, action="notify")
        assert (await client.send({TEMPERATURE: -3.0})).status == "2.04"
        assert daemon.store.values(thief, TEMPERATURE)[-1] == -3.0
        assert (daemon.store.registration(victim), daemon.store.observations(victim)) == before
        assert daemon.store.values(victim, TEMPERATURE) == [21.5]
        honest.notify(TEMPERATURE, 22.0)
        assert (await honest.reply()).kind == ACK
        assert (await honest.update()).status == "2.04"


async def test_a_name_with_a_credential_is_not_to_be_had_over_plain_coap(daemon: Daemon) -> None:
    endpoint = "guarded"
    credential = daemon.give_psk(endpoint)
    async with (
        secure_thermometer(daemon.coaps_port, endpoint, credential) as honest,
        thermometer(daemon.coap_port, endpoint) as stranger,
    ):
        await ready(daemon, honest)
        before = daemon.store.registration(endpoint)
        for code, path in deeds(honest):
            since = daemon.now
            query = (f"ep={endpoint}", "lwm2m=1.1")
            request = stranger.peer.request(code, path, OBJECTS, query=query)
            assert (await stranger.ask(request)).status == FORBIDDEN
            daemon.wait_logged(IMPOSTOR, since, endpoint=endpoint, peer=stranger.peer.address)
        stranger.peer.notify(honest.observed[TEMPERATURE], 99, senml({TEMPERATURE: -1.0}))
        daemon.wait_logged(IMPOSTOR, endpoint=endpoint, action="notify")
        assert (await stranger.send({TEMPERATURE: -1.0})).status == "4.00"
        assert daemon.store.registration(endpoint) == before
        assert daemon.store.values(endpoint, TEMPERATURE) == [21.5]


async def test_a_first_credential_ends_what_plain_coap_had(daemon: Daemon) -> None:
    """Whoever registered under that name may have been anybody."""
    async with thermometer(daemon.coap_port, "promoted") as client:
        await ready(daemon, client)
        daemon.give_psk("promoted")
        await until(lambda: daemon.store.registration("promoted") is None)
        assert (await client.update()).status == NOT_FOUND
        assert (await client.send({TEMPERATURE: 1.0})).status in ("4.00", FORBIDDEN)
        since = daemon.now
        request = client.peer.register(("lwm2m=1.1", "ep=promoted"), OBJECTS)
        assert (await client.ask(request)).status == FORBIDDEN
        daemon.wait_logged(IMPOSTOR, since, endpoint="promoted", action="register")
        assert daemon.store.values("promoted", TEMPERATURE) == [21.5], "its history stays"


@pytest.mark.parametrize("kind", KINDS)
async def test_another_session_of_the_same_device(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """It has started anew and still knows its registration: that goes over to the new session."""
    endpoint = f"anew-{kind}"
    credential = daemon.give(kind, endpoint, tmp_path)
    async with (
        secure_thermometer(daemon.coaps_port, endpoint, credential) as before,
        secure_thermometer(daemon.coaps_port, endpoint, credential) as after,
    ):
        await ready(daemon, before)
        first = daemon.store.registration(endpoint)
        after.location, after.observed, after.number = before.location, before.observed, before.number
        assert (await after.update()).status == "2.04"
        second = daemon.store.registration(endpoint)
        assert first is not None
        assert second is not None
        assert second["id"] == first["id"]
        assert second["session"] != first["session"]
        after.notify(TEMPERATURE, 30.0)
        assert (await after.reply()).kind == ACK
        assert daemon.store.values(endpoint, TEMPERATURE) == [21.5, 30.0]
        answer = await asyncio.to_thread(daemon.operate, endpoint, "read", "/1")
        assert answer.status == "CONFIRMED", "it is asked by the way it speaks now"
        assert [frame.path for frame in after.asked] == ["/1"]


# Credentials that end


async def registered(daemon: Daemon, client: SecureThermometer) -> None:
    """Register, with nothing to be asked for."""
    request = client.peer.register(("lwm2m=1.1", f"ep={client.endpoint}"), b"</1/0>")
    reply = await client.ask(request)
    assert reply.status == "2.01"
    client.location = "/" + "/".join(reply.location)


def sessions(daemon: Daemon, credential: Credential) -> list[tuple[Any, ...]]:
    """What the daemon has kept of the sessions that a credential has made."""
    proof = (
        credential.identity.encode()
        if isinstance(credential, Psk)
        else sha256(chain(credential).certificates[0]).digest()
    )
    return daemon.store.rows("SELECT id FROM dtls_session WHERE proof = :proof", proof=proof)


async def stays_out(daemon: Daemon, credential: Credential, resume: bytes, code: str) -> None:
    """Neither a new handshake lets it in nor one that resumes its last session."""
    for known in (resume, b""):
        since = daemon.now
        with secure_peer(daemon.coaps_port, credential) as peer:
            peer.begin_anew(known)
            assert await peer.refused() == "handshake_refused"
        daemon.wait_logged(REFUSED, since, error_code=code)


@pytest.mark.parametrize(("kind", "code"), [("psk", "psk_unknown"), ("certificate", "certificate_revoked")])
async def test_a_credential_that_is_removed(daemon: Daemon, tmp_path: Path, kind: str, code: str) -> None:
    """Its session ends by an alert, its registration at once; it neither resumes nor comes in anew."""
    endpoint = f"removed-{kind}"
    credential = daemon.give(kind, endpoint, tmp_path)
    async with secure_thermometer(daemon.coaps_port, endpoint, credential) as client:
        await registered(daemon, client)
        assert len(sessions(daemon, credential)) == 1
        known = client.peer.session.freeze()
        daemon.revoke(endpoint)
        await client.ended()
        await until(lambda: daemon.store.registration(endpoint) is None)
        await until(lambda: sessions(daemon, credential) == [])
        client.peer.send(Frame(CON, EMPTY, 1))  # of no session any more
    await stays_out(daemon, credential, known, code)
    assert [c["state"] for c in daemon.credentials(endpoint)] == ["revoked"]


async def test_a_session_that_was_closed_is_not_resumed_after_its_credential_ended(daemon: Daemon) -> None:
    """A device in Queue Mode closes its socket before it sleeps; no session is there to end."""
    credential = daemon.give_psk("closed")
    with secure_peer(daemon.coaps_port, credential) as peer:
        await peer.shake()
        known = peer.session.freeze()
        peer.session.alert(CLOSE_NOTIFY)
        peer.flush()
        await peer.ended()
        peer.begin_anew(known)
        await peer.shake()
        assert peer.session.resumed
        known = peer.session.freeze()
        peer.session.alert(CLOSE_NOTIFY)
        peer.flush()
        await peer.ended()
    daemon.revoke("closed")
    await stays_out(daemon, credential, known, "psk_unknown")


async def test_a_key_that_is_changed(daemon: Daemon) -> None:
    """The same identity with another key: the session of the old one ends, and is not resumed."""
    old = daemon.give_psk("changed")
    async with secure_thermometer(daemon.coaps_port, "changed", old) as client:
        await registered(daemon, client)
        known = client.peer.session.freeze()
        daemon.revoke("changed")
        await client.ended()
    new = daemon.give_psk("changed")
    assert (new.identity, new.key != old.key) == (old.identity, True)
    with secure_peer(daemon.coaps_port, old) as peer:
        assert await peer.refused() == "handshake_refused"
    daemon.wait_logged(REFUSED, error_code="psk_wrong", identity=old.identity)
    with secure_peer(daemon.coaps_port, old) as peer:
        peer.begin_anew(known)
        assert await peer.refused() == "handshake_refused"
    async with secure_thermometer(daemon.coaps_port, "changed", new) as client:
        await registered(daemon, client)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_credential_that_is_renewed(daemon: Daemon, tmp_path: Path, kind: str) -> None:
    """Both are good until the new one is used; then the old one's session ends and the new one's goes on."""
    endpoint = f"renewed-{kind}"
    old = daemon.give(kind, endpoint, tmp_path)
    number = daemon.credentials(endpoint)[0]["id"]
    async with secure_thermometer(daemon.coaps_port, endpoint, old) as before:
        await registered(daemon, before)
        given = daemon.api(f"/credentials/{number}/renew", {})[kind]
        new: Credential
        if kind == "psk":
            new = Psk(given["identity"], given["key"])
        else:
            new = Certificate.into(
                tmp_path, "renewed", given["certificate"], given["private_key"], given["ca"]
            )
        assert (await before.update()).status == "2.04"
        async with secure_thermometer(daemon.coaps_port, endpoint, new) as after:
            await before.ended()
            after.location = before.location
            await registered(daemon, after)
            await until(lambda: [c["state"] for c in daemon.credentials(endpoint)] == ["active", "replaced"])
            assert (await after.update()).status == "2.04"
            assert daemon.store.registration(endpoint) is not None


async def test_a_credential_that_ends_during_its_handshake(daemon: Daemon) -> None:
    """The key was found and is gone when the handshake is complete."""
    credential = daemon.give_psk("late")
    with secure_peer(daemon.coaps_port, credential) as peer:
        await peer.greet()
        peer.session.advance(await peer.datagram_raw())  # its flight with the key's proof waits to be sent
        daemon.revoke("late")
        peer.flush()
        with pytest.raises(DtlsError):
            await peer.finish()
    assert daemon.handshakes("late") == 0
