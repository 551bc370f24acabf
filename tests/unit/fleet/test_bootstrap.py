"""Bootstrap driven over a scripted wire, on a real store with real credentials."""

import asyncio
from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.db.credentials import Credential, CredentialOrigin, CredentialState, ProofKind
from flownexus_appliance.errors import PeerError
from flownexus_appliance.events import Event
from flownexus_appliance.fleet import bootstrap as bootstrap_module
from flownexus_appliance.fleet.fleet import FleetOptions
from flownexus_appliance.fleet.ports import Action, Downlink, Method, Sender, Uplink
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig, Security
from flownexus_appliance.lwm2m.effects import Reply, Success
from flownexus_appliance.lwm2m.paths import Path
from tests.box import models
from tests.conftest import FakeClock
from tests.peer import DEADLINE_S, until
from tests.unit.fleet.bootstrap_device import BOX, Authority, Device, over_dtls
from tests.unit.fleet.conftest import House, Outcome, a_house, plain

KEY = bytes(range(16))
HERE = plain("192.0.2.1:5683")


@pytest.fixture(autouse=True)
def ports(house: House) -> None:
    house.fleet.bootstrap.listen_on(5683, 5684)


def asking(house: House, sender: Sender, *query: str, accept: int | None = None) -> Uplink:
    action = Action.BOOTSTRAP if accept is None else Action.BOOTSTRAP_PACK
    return replace(house.uplink(action), sender=sender, query=query, accept=accept)


async def comes(house: House, sender: Sender, *query: str) -> Outcome:
    return await house.outcome(asking(house, sender, *query))


async def wants_pack(house: House, sender: Sender, accept: int | None, *query: str) -> Outcome:
    uplink = replace(asking(house, sender, *query), action=Action.BOOTSTRAP_PACK, accept=accept)
    return await house.outcome(uplink)


async def ended(house: House, after: int = 0) -> Event:
    """The first end of a bootstrap that was told after an event's number."""
    return await house.told.until(
        lambda e: e.name == "bootstrap" and e.number > after and e.data["step"] in ("finished", "failed")
    )


async def bootstraps(house: House, sender: Sender, device: Device, *query: str) -> Event:
    """A whole bootstrap; the event of its end."""
    house.wire.plays[sender.peer] = device
    after = house.told.bus.last_number
    assert await comes(house, sender, *query) == Reply(Success.CHANGED)
    return await ended(house, after)


def told(house: House) -> list[str]:
    """What was told of bootstraps: "write /0/1", with a mark for what went wrong."""
    return [
        f"{e.data['step']} {e.data.get('path', '')}".rstrip() + ("" if e.data["ok"] else "!")
        for e in house.told.bus
        if e.name == "bootstrap"
    ]


def good(house: House, endpoint: str = "one") -> list[tuple[ProofKind, CredentialState, CredentialOrigin]]:
    return [(c.kind, c.state, c.origin) for c in house.fleet.credentials.of(endpoint)]


async def psk(house: House, endpoint: str = "one") -> Credential:
    """A key by which the device has come: it has been used."""
    await house.fleet.credentials.add_psk(endpoint, key=KEY)
    (added,) = house.fleet.credentials.of(endpoint)
    house.fleet.credentials.admit(added.proof)
    return added


def refused(outcome: Outcome) -> str:
    assert isinstance(outcome, PeerError), outcome
    return outcome.code


# Client-initiated


@pytest.mark.parametrize("pct", [None, 110, 112, 11542, 11543, 11544])
async def test_a_device_with_a_key_gets_the_account_of_that_key(house: House, pct: int | None) -> None:
    await psk(house)
    device = Device()
    end = await bootstraps(
        house, over_dtls("one"), device, "ep=one", *(() if pct is None else (f"pct={pct}",))
    )
    assert end.data["step"] == "finished"
    asked = [] if pct is None else ["discover /"]
    assert device.steps == [*asked, "delete /0", "delete /1", "write /0/1", "write /1/0", "finish"]
    assert device.formats == {pct or 11542}
    assert device.values["/0/1/0"] == f"coaps://{BOX}:5684"
    assert device.values["/0/1/2"] == 0
    assert (device.values["/0/1/3"], device.values["/0/1/5"]) == (b"one", KEY)
    assert device.values["/0/1/10"] == device.values["/1/0/0"] == 1
    assert good(house) == [(ProofKind.PSK, CredentialState.ACTIVE, CredentialOrigin.OPERATOR)]


async def test_every_step_is_told_and_none_tells_a_key(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await psk(house)
    await bootstraps(house, over_dtls("one"), Device(refuses={"delete /1": "4.04"}), "pct=112")
    assert told(house) == [
        "requested",
        "discover /",
        "delete /0",
        "delete /1!",
        "write /0/1",
        "write /1/0",
        "finish /",
        "finished",
    ]
    events = [e.data for e in house.told.bus if e.name == "bootstrap"]
    assert {data["endpoint"] for data in events} == {"one"}
    assert events[1]["links"] == "</>;lwm2m=1.1,</0/0>"
    logged = " ".join(f"{r.getMessage()} {vars(r)}" for r in caplog.records)
    for secret in (KEY.hex(), repr(KEY), str(list(KEY))):
        assert secret not in f"{events} {logged}"


def test_what_goes_over_the_wire_shows_no_key() -> None:
    shown = repr((Downlink(Method.PUT, Path((0, 1)), payload=KEY), Reply(Success.CONTENT, payload=KEY)))
    assert repr(KEY) not in shown


async def test_the_name_may_be_left_out_over_dtls(house: House) -> None:
    await psk(house)
    assert (await bootstraps(house, over_dtls("one"), Device())).data["endpoint"] == "one"


async def test_a_session_acts_only_as_itself(house: House) -> None:
    await psk(house)
    assert refused(await comes(house, over_dtls("one"), "ep=two")) == "identity_refused"
    assert refused(await comes(house, HERE, "ep=one")) == "identity_refused"
    assert refused(await comes(house, over_dtls(None, enrolling=True), "ep=two")) == "identity_refused"
    assert house.wire.log == []


async def test_plain_coap_gets_no_key(house: House) -> None:
    assert refused(await comes(house, HERE, "ep=one")) == "bootstrap_refused"
    await house.fleet.bootstrap.put_config("", BootstrapConfig(security=Security.PSK))
    assert refused(await comes(house, HERE, "ep=one")) == "bootstrap_refused"
    assert told(house) == ["refused!", "refused!"]
    assert house.wire.log == []
    assert good(house) == []


async def test_plain_coap_gets_what_has_no_key(house: House) -> None:
    await house.fleet.bootstrap.put_config("one", BootstrapConfig(security=Security.NONE))
    here = replace(HERE, local_host="fe80::1%eth0")
    device = Device()
    assert (await bootstraps(house, here, device, "ep=one")).data["step"] == "finished"
    assert device.values["/0/1/0"] == "coap://[fe80::1]:5683"
    assert device.values["/0/1/2"] == 3
    assert {device.values[f"/0/1/{number}"] for number in (3, 4, 5)} == {b""}
    assert refused(await comes(house, replace(here, peer="x"), "ep=two")) == "identity_refused"


async def test_a_device_needs_a_name_and_an_address_to_go_to(house: House) -> None:
    await house.fleet.bootstrap.put_config("", BootstrapConfig(security=Security.NONE))
    assert refused(await comes(house, HERE)) == "endpoint_missing"
    assert refused(await comes(house, HERE, "ep=one")) == "bootstrap_refused"  # our own address is unknown
    house.fleet.bootstrap.listen_on(0, 5684)
    here = replace(HERE, local_host=BOX)
    assert refused(await comes(house, here, "ep=one")) == "bootstrap_refused"  # plain CoAP is off
    await house.fleet.bootstrap.put_config(
        "", BootstrapConfig(security=Security.NONE, uri="coap://box.example")
    )
    device = Device()
    await bootstraps(house, here, device, "ep=one")
    assert device.values["/0/1/0"] == "coap://box.example"


async def test_a_device_without_tlv_is_written_in_senml(house: House) -> None:
    await psk(house)
    device = Device(reads=(112,))
    assert (await bootstraps(house, over_dtls("one"), device, "ep=one")).data["ok"]
    assert device.values["/0/1/5"] == KEY
    assert device.formats == {112}


@pytest.mark.parametrize("step", ["discover /", "delete /0", "write /0/1", "write /1/0", "finish"])
@pytest.mark.parametrize("how", ["mute", "refused"])
async def test_a_device_that_fails_half_way_comes_again(house: House, step: str, how: str) -> None:
    await psk(house)
    device = Device()
    if how == "mute":
        device.mute.add(step)
    else:
        device.refuses[step] = "5.00"
    first = await bootstraps(house, over_dtls("one"), device, "pct=112")
    harmless = how == "refused" and step.startswith(("discover", "delete"))
    assert first.data["ok"] is harmless
    assert bool(first.data["message"]) is not harmless
    device.mute.clear()
    device.refuses.clear()
    assert (await bootstraps(house, over_dtls("one"), device, "pct=112")).data["ok"]
    assert (device.values["/0/1/3"], device.values["/0/1/5"]) == (b"one", KEY)
    assert len(house.fleet.credentials.of("one")) == 1


async def test_what_a_device_does_not_know_is_left_out(house: House) -> None:
    await psk(house)
    config = BootstrapConfig(mute_send=True, writes={Path((3, 0, 15)): "UTC"}, read=(Path((1,)),))
    await house.fleet.bootstrap.put_config("one", config)
    device = Device(refuses={"write /1/0/23": "4.04"})
    assert (await bootstraps(house, over_dtls("one"), device, "pct=112")).data["ok"]
    assert device.values["/3/0/15"] == "UTC"
    assert "write /1/0/23!" in told(house)
    read = next(e for e in house.told.bus if e.data.get("step") == "read")
    assert read.data["values"] == {"/1/0/0": 1}


# Certificates


async def certified(house: House) -> Authority:
    authority = Authority()
    house.fleet.bootstrap.attach(authority)
    await house.fleet.bootstrap.put_config("", BootstrapConfig(security=Security.CERTIFICATE))
    return authority


async def test_a_certificate_is_on_disk_before_the_device_hears_of_it(house: House) -> None:
    authority = await certified(house)
    await psk(house)
    on_disk: list[int] = []

    class Watched(Device):
        def __call__(self, asked: object) -> None:
            if asked.downlink.path == Path((0, 1)):  # type: ignore[attr-defined]
                rows = house.rows("SELECT count(*) FROM credential WHERE kind = 'certificate'")
                on_disk.append(int(rows[0][0]))
            super().__call__(asked)  # type: ignore[arg-type]

    device = Watched()
    assert (await bootstraps(house, over_dtls("one"), device, "pct=112")).data["ok"]
    assert on_disk == [1]
    (made,) = authority.made
    # 460 + 450 + 138 bytes are more than Zephyr takes at once.
    assert device.steps[3:8] == [
        "write /0/1",
        "write /0/1/3",
        "write /0/1/4",
        "write /0/1/5",
        "write /0/1/15",
    ]
    assert device.values["/0/1/2"] == 2
    assert device.values["/0/1/3"] == made.certificate
    assert device.values["/0/1/4"] == authority.chain[0]
    assert device.values["/0/1/5"] == made.key
    assert device.values["/0/1/15"] == 2
    assert good(house) == [
        (ProofKind.PSK, CredentialState.ACTIVE, CredentialOrigin.OPERATOR),
        (ProofKind.CERTIFICATE, CredentialState.OFFERED, CredentialOrigin.BOOTSTRAP),
    ]
    kept = house.fleet.credentials.of("one")[1]
    assert kept.proof.value == made.fingerprint
    assert kept.not_after_ms == round(made.not_after.timestamp() * 1000)


async def test_a_device_that_never_gets_through_piles_up_no_certificates(house: House) -> None:
    await certified(house)
    await psk(house)
    device = Device(refuses={"write /1/0": "5.00"})
    for _ in range(10):
        assert not (await bootstraps(house, over_dtls("one"), device, "ep=one")).data["ok"]
    assert len(good(house)) <= 5


async def test_who_came_by_a_certificate_can_come_by_it_again(house: House) -> None:
    """The bootstrap account's own certificate must outlive those that bootstrap gives."""
    authority = Authority()
    house.fleet.bootstrap.attach(authority)
    factory = authority.issue("one")
    await house.fleet.credentials.add_certificate("one", factory.certificate, factory.fingerprint, 1, 0)
    for _ in range(6):
        assert (await bootstraps(house, over_dtls("one"), Device(), "ep=one")).data["ok"]
        newest = house.fleet.credentials.of("one")[-1]
        house.fleet.credentials.admit(newest.proof)
        await house.store.commit()
    known = house.fleet.credentials.of("one")
    assert known[0].proof.value == factory.fingerprint
    assert {c.origin for c in known[1:]} == {CredentialOrigin.BOOTSTRAP}
    assert len(known) == 3  # the one before the last may still be what the device is registered by


async def test_without_an_authority_nothing_is_written(house: House) -> None:
    await house.fleet.bootstrap.put_config("", BootstrapConfig(security=Security.CERTIFICATE))
    await psk(house)
    device = Device()
    end = await bootstraps(house, over_dtls("one"), device, "pct=112")
    assert end.data["message"] == "the box has no certificate authority yet"
    assert device.steps == ["discover /"]


async def test_a_key_is_made_for_who_came_by_a_certificate_and_is_to_have_one(house: House) -> None:
    made = Authority().issue("one")
    await house.fleet.credentials.add_certificate("one", made.certificate, made.fingerprint, 1, 0)
    await house.fleet.bootstrap.put_config("one", BootstrapConfig(security=Security.PSK))
    device = Device()
    assert (await bootstraps(house, over_dtls("one"), device, "ep=one")).data["ok"]
    assert good(house)[1] == (ProofKind.PSK, CredentialState.OFFERED, CredentialOrigin.BOOTSTRAP)
    key = house.fleet.credentials.of("one")[1]
    assert (device.values["/0/1/3"], device.values["/0/1/5"]) == (key.proof.value, key.secret)
    again = Device()
    assert (await bootstraps(house, over_dtls("one"), again, "ep=one")).data["ok"]
    assert again.values == device.values


async def test_a_key_that_waits_to_be_brought_is_brought(house: House) -> None:
    await psk(house)
    offered = await house.fleet.credentials.renew_psk("one")
    device = Device()
    await bootstraps(house, over_dtls("one"), device, "ep=one")
    assert (device.values["/0/1/3"], device.values["/0/1/5"]) == (offered.proof.value, offered.secret)


# Enrolment


async def test_a_device_that_enrols_gets_a_key_of_its_own(house: House) -> None:
    await certified(house)  # a certificate could not be renewed: the bootstrap account ends
    house.fleet.credentials.open_enrolment()
    device = Device()
    sender = over_dtls(None, enrolling=True)
    assert (await bootstraps(house, sender, device, "ep=new", "pct=112")).data["ok"]
    assert good(house, "new") == [(ProofKind.PSK, CredentialState.ACTIVE, CredentialOrigin.ENROLMENT)]
    (own,) = house.fleet.credentials.of("new")
    assert (device.values["/0/1/3"], device.values["/0/1/5"]) == (b"new", own.secret)
    assert len(own.secret) == 16


async def test_one_that_fails_to_enrol_comes_again_and_has_one_key(house: House) -> None:
    house.fleet.credentials.open_enrolment()
    device = Device(mute={"write /1/0"})
    sender = over_dtls(None, enrolling=True)
    assert not (await bootstraps(house, sender, device, "ep=new")).data["ok"]
    first = house.fleet.credentials.of("new")
    device.mute.clear()
    assert (await bootstraps(house, sender, device, "ep=new")).data["ok"]
    (own,) = house.fleet.credentials.of("new")
    assert own.id != first[0].id
    assert device.values["/0/1/5"] == own.secret
    house.fleet.credentials.admit(own.proof)
    assert refused(await comes(house, sender, "ep=new")) == "identity_refused"


# Several at once


async def test_a_second_request_of_the_same_device_begins_anew(house: House) -> None:
    await psk(house)
    sender = over_dtls("one")
    assert await comes(house, sender, "ep=one") == Reply(Success.CHANGED)
    first = await house.wire.asked()
    assert await comes(house, sender, "ep=one") == Reply(Success.CHANGED)
    second = await house.wire.asked()
    assert first.answered.cancelled()
    house.wire.plays[sender.peer] = device = Device()
    second.answer("2.02")
    assert (await ended(house)).data["ok"]
    assert device.steps == ["delete /1", "write /0/1", "write /1/0", "finish"]
    assert told(house).count("requested") == 2
    assert told(house).count("finished") == 1


async def test_the_same_device_by_a_new_session_begins_anew(house: House) -> None:
    await psk(house)
    assert await comes(house, over_dtls("one", 1)) == Reply(Success.CHANGED)
    first = await house.wire.asked()
    assert (await bootstraps(house, over_dtls("one", 2), Device())).data["ok"]
    assert first.answered.cancelled()


async def test_a_name_that_is_another_s_session_breaks_off_nothing(house: House) -> None:
    """Connection IDs are seen on the wire, and over plain CoAP a name may be anything."""
    bootstrap = house.fleet.bootstrap
    await bootstrap.put_config("", BootstrapConfig(security=Security.NONE, uri="coap://b"))
    await bootstrap.put_config("one", BootstrapConfig())
    await psk(house)
    sender = over_dtls("one")
    assert await comes(house, sender) == Reply(Success.CHANGED)
    under_way = await house.wire.asked()
    await bootstraps(house, HERE, Device(), f"ep={sender.peer}")
    assert not under_way.answered.cancelled()


async def test_only_so_many_at_once_and_the_others_wait(
    tmp_path: FilePath, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap_module, "AT_ONCE", 2)
    async with a_house(tmp_path / "more.db", clock, FleetOptions(watch_list=())) as busy:
        await busy.fleet.bootstrap.put_config("", BootstrapConfig(security=Security.NONE, uri="coap://b"))
        senders = [plain(f"192.0.2.{n}:5683") for n in range(1, 7)]
        for sender in senders:
            busy.wire.plays[sender.peer] = Device()
            assert await comes(busy, sender, f"ep=d{sender.peer[8]}x{sender.peer}") == Reply(Success.CHANGED)
        await until(lambda: told(busy).count("finished") == 6)
        assert busy.wire.most_at_once == 2
        assert busy.wire.most_a_device == 1


async def test_beyond_the_bound_there_is_silence(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zephyr gives up for good on an error; without an answer it asks again."""
    monkeypatch.setattr(bootstrap_module, "MAX_UNDER_WAY", 1)
    await psk(house)
    await psk(house, "two")
    assert await comes(house, over_dtls("one", 1)) == Reply(Success.CHANGED)
    assert await comes(house, over_dtls("two", 2)) is None


async def test_who_speaks_plain_coap_keeps_nobody_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap_module, "MAX_UNDER_WAY", 1)
    await house.fleet.bootstrap.put_config("free", BootstrapConfig(security=Security.NONE, uri="coap://b"))
    assert await comes(house, HERE, "ep=free") == Reply(Success.CHANGED)
    await psk(house)
    assert (await bootstraps(house, over_dtls("one"), Device())).data["ok"]


async def test_one_that_takes_too_long_has_failed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap_module, "SESSION_S", 0.02)
    await psk(house)
    assert await comes(house, over_dtls("one")) == Reply(Success.CHANGED)
    assert (await ended(house)).data["step"] == "failed"
    assert (await house.wire.asked()).answered.cancelled()


async def test_a_stop_breaks_off_what_is_under_way(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "more.db", clock) as stopping:
        stopping.fleet.bootstrap.listen_on(5683, 5684)
        await psk(stopping)
        assert await comes(stopping, over_dtls("one")) == Reply(Success.CHANGED)
        under_way = await stopping.wire.asked()
        await stopping.fleet.stop()
        assert under_way.answered.cancelled()
        assert await comes(stopping, over_dtls("one")) is None


async def test_a_credential_that_the_disk_does_not_take_is_not_given(house: House) -> None:
    house.fleet.credentials.open_enrolment()
    device = Device()
    sender = over_dtls(None, enrolling=True)
    with house.disk_fails("INSERT ON credential"):
        end = await bootstraps(house, sender, device, "ep=new", "pct=112")
    assert end.data["step"] == "failed"
    assert device.steps == ["discover /"]
    await house.healed()
    assert (await bootstraps(house, sender, device, "ep=new", "pct=112")).data["ok"]


# Bootstrap-Pack


@pytest.mark.parametrize(("accept", "answered"), [(None, 112), (112, 112), (110, 110), (11544, 11544)])
async def test_a_pack_is_everything_in_one_answer(house: House, accept: int | None, answered: int) -> None:
    await psk(house)
    outcome = await wants_pack(house, over_dtls("one"), accept, "ep=one")
    assert isinstance(outcome, Reply), outcome
    assert (outcome.success, outcome.content_format) == (Success.CONTENT, answered)
    records = codecs.decode(answered, outcome.payload, base=Path.ROOT, types=models().type_of, now_ms=0)
    found = {str(record.path): record.value for record in records}
    assert (found["/0/1/0"], found["/0/1/5"], found["/1/0/1"]) == (f"coaps://{BOX}:5684", KEY, 86400)
    assert house.wire.log == []
    await house.told.until(lambda e: e.name == "bootstrap" and e.data["step"] == "packed")


async def test_a_pack_in_another_format_or_too_large_is_none(house: House) -> None:
    await psk(house)
    assert refused(await wants_pack(house, over_dtls("one"), 11542)) == "not_acceptable"
    await certified(house)
    assert refused(await wants_pack(house, over_dtls("one"), 112)) == "not_found"
    assert refused(await wants_pack(house, HERE, 112, "ep=other")) == "bootstrap_refused"


async def test_no_certificate_is_made_for_a_pack_that_cannot_hold_it(house: House) -> None:
    """Anjay 1.2 asks for a pack first, and comes to /bs then."""
    await certified(house)
    before = house.fleet.credentials.of("one")
    assert refused(await wants_pack(house, over_dtls("one"), 112)) == "not_found"
    assert house.fleet.credentials.of("one") == before


async def test_of_two_requests_for_a_pack_each_is_answered(house: House) -> None:
    await psk(house)
    uplinks = [asking(house, over_dtls("one"), accept=112) for _ in range(2)]
    first, second = [house.ask(uplink) for uplink in uplinks]
    async with asyncio.timeout(DEADLINE_S):
        assert await first is None  # the second broke it off before it began
        assert isinstance(await second, Reply)
