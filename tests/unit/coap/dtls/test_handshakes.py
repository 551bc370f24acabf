"""Who gets in, by what: every cipher suite, PSKs and certificates as they should be and should not be."""

import pytest

from flownexus_appliance.coap.dtls.engine import (
    ECDSA_SUITES,
    PSK_SUITES,
    Chain,
    Context,
    DtlsError,
    Kind,
    Ring,
    Session,
    library_version,
)

from .authority import (
    CLIENT,
    DAY,
    EPOCH,
    NOW,
    SERVER,
    Issued,
    certificate_client,
    certificate_server,
    issue,
    root,
)
from .joined import (
    ALERT,
    HANDSHAKE,
    HEADER,
    IDENTITY,
    KEY,
    Datagram,
    Joined,
    joined,
    psk_client,
    psk_server,
    ring,
)


@pytest.fixture(scope="module")
def ca() -> Issued:
    return root()


@pytest.fixture(scope="module")
def device(ca: Issued) -> Issued:
    return issue("device", ca, usage=CLIENT)


def refused(ends: Joined) -> str:
    """The code the server refused with; the client must have been told by an alert."""
    assert not ends.server_done
    assert not ends.client_done
    assert ends.wire[-1].data[0] == ALERT
    assert "client" in ends.errors
    return ends.errors["server"].code


def test_the_library_is_one_that_fits() -> None:
    assert library_version().startswith("3.6.")


# Suites


@pytest.mark.parametrize("suite", PSK_SUITES)
def test_every_psk_suite(suite: int) -> None:
    ends = joined(psk_server(), psk_client(suites=[suite])).shake()
    assert ends.done
    assert (ends.server.suite, ends.client.suite) == (suite, suite)
    assert ends.server.proof() == (Kind.PSK, IDENTITY)
    assert not ends.server.resumed
    ends.exchange()


@pytest.mark.parametrize("suite", ECDSA_SUITES)
def test_every_ecdsa_suite(ca: Issued, device: Issued, suite: int) -> None:
    server = certificate_server(ca, None, device)
    ends = joined(server, certificate_client(ca, device.chain(), suites=[suite])).shake()
    assert ends.done
    assert ends.server.suite == suite
    assert ends.server.proof() == (Kind.CERTIFICATE, device.fingerprint)
    ends.exchange()


def test_a_server_does_both(ca: Issued, device: Issued) -> None:
    both = ring()
    both.put(Kind.CERTIFICATE, device.fingerprint)
    server = Context(ring=both, chain=issue("box", ca, usage=SERVER).chain(), roots=[ca.der])
    assert joined(server, psk_client()).shake().server.proof() == (Kind.PSK, IDENTITY)
    ends = joined(server, certificate_client(ca, device.chain())).shake()
    assert ends.server.proof() == (Kind.CERTIFICATE, device.fingerprint)


@pytest.mark.parametrize(
    "suite",
    [0x00AF, 0x008C, 0xC037, 0xD001],  # PSK-AES256-CBC-SHA384, PSK-AES128-CBC-SHA, ECDHE-PSK twice
)
def test_other_suites_are_refused(suite: int) -> None:
    ends = joined(psk_server(), psk_client(suites=[suite])).shake()
    assert refused(ends) == "handshake_refused"


def test_a_server_without_certificate_does_psk_only(ca: Issued, device: Issued) -> None:
    ends = joined(psk_server(), certificate_client(ca, device.chain())).shake()
    assert refused(ends) == "handshake_refused"


# PSKs


def test_a_wrong_key() -> None:
    assert refused(joined(psk_server(), psk_client(key=b"z" * 16)).shake()) == "psk_wrong"


def test_an_unknown_identity() -> None:
    assert refused(joined(psk_server(), psk_client(identity=b"nobody")).shake()) == "psk_unknown"


@pytest.mark.parametrize("identity", [b"devic", b"device2", b"Device", b"x" * 128])
def test_identities_are_compared_whole(identity: bytes) -> None:
    assert refused(joined(psk_server(), psk_client(identity=identity)).shake()) == "psk_unknown"


def test_the_name_of_a_certificate_is_no_identity(ca: Issued, device: Issued) -> None:
    """A fingerprint in the ring, which has no key, lets nobody in as a PSK identity with an empty key."""
    server = certificate_server(ca, None, device)
    ends = joined(server, psk_client(identity=device.fingerprint, key=b"\0")).shake()
    assert refused(ends) == "psk_unknown"


def test_an_identity_with_an_empty_key_lets_nobody_in() -> None:
    ends = joined(psk_server(device=b""), psk_client(key=b"\0")).shake()
    assert refused(ends) == "psk_unknown"


@pytest.mark.parametrize("length", [1, 16, 32, 48])
def test_keys_of_all_lengths(length: int) -> None:
    key = bytes(range(length))
    assert joined(psk_server(device=key), psk_client(key=key)).shake().done


def test_a_change_in_the_ring_is_seen_at_once() -> None:
    names = ring()
    server = Context(ring=names)
    assert len(names) == 1
    names.put(Kind.PSK, IDENTITY, b"another key")
    assert refused(joined(server, psk_client()).shake()) == "psk_wrong"
    assert joined(server, psk_client(key=b"another key")).shake().done
    assert names.remove(Kind.PSK, IDENTITY)
    assert not names.remove(Kind.PSK, IDENTITY)
    assert refused(joined(server, psk_client()).shake()) == "psk_unknown"
    assert len(names) == 0


def test_a_large_ring() -> None:
    names = Ring()
    for number in range(5000):
        names.put(Kind.PSK, b"device %d" % number, b"key %d" % number)
    for number in range(0, 5000, 2):
        assert names.remove(Kind.PSK, b"device %d" % number)
    assert len(names) == 2500
    server = Context(ring=names)
    assert joined(server, psk_client(b"device 4999", b"key 4999")).shake().done
    assert refused(joined(server, psk_client(b"device 4998", b"key 4998")).shake()) == "psk_unknown"


@pytest.mark.parametrize(
    ("name", "secret"), [(b"", b"k"), (b"n" * 129, b"k"), (b"n", b"k" * 49), (b"n", b"k" * 65)]
)
def test_what_does_not_fit_the_ring(name: bytes, secret: bytes) -> None:
    names = Ring()
    with pytest.raises(ValueError, match="1 to 128 bytes") as caught:
        names.put(Kind.PSK, name, secret)
    assert "kkk" not in str(caught.value)
    assert len(names) == 0


# Certificates


def test_not_in_the_ring(ca: Issued, device: Issued) -> None:
    """Revoked, or made by the same CA for something else."""
    other = issue("other", ca, usage=CLIENT)
    ends = joined(certificate_server(ca, None, other), certificate_client(ca, device.chain())).shake()
    assert refused(ends) == "certificate_revoked"


def test_of_another_ca_even_if_listed(ca: Issued) -> None:
    impostor = root("root")  # of the same name
    device = issue("device", impostor, usage=CLIENT)
    ends = joined(certificate_server(ca, None, device), certificate_client(ca, device.chain())).shake()
    assert refused(ends) == "certificate_foreign"


def test_by_itself_even_if_listed(ca: Issued) -> None:
    device = issue("device", usage=CLIENT)
    ends = joined(certificate_server(ca, None, device), certificate_client(ca, device.chain())).shake()
    assert refused(ends) == "certificate_foreign"


def test_by_a_device_that_is_no_ca(ca: Issued, device: Issued) -> None:
    friend = issue("friend", device, usage=CLIENT)
    server = certificate_server(ca, None, device, friend)
    ends = joined(server, certificate_client(ca, friend.chain(device))).shake()
    assert refused(ends) == "certificate_foreign"


@pytest.mark.parametrize(
    ("begins", "ends"), [(EPOCH, NOW - DAY), (NOW + DAY, NOW + 90 * DAY)], ids=["expired", "not yet valid"]
)
def test_dates(ca: Issued, begins: object, ends: object) -> None:
    """Looked at while the clock is to be trusted, and passed over while it is not."""
    device = issue("device", ca, usage=CLIENT, begins=begins, ends=ends)  # type: ignore[arg-type]
    client = certificate_client(ca, device.chain())
    strict = joined(certificate_server(ca, None, device), client).shake()
    assert refused(strict) == "certificate_expired"
    assert joined(certificate_server(ca, None, device, check_dates=False), client).shake().done


def test_without_dates_the_rest_is_still_looked_at(ca: Issued) -> None:
    old = issue("device", ca, usage=CLIENT, ends=NOW - DAY)
    client = certificate_client(ca, old.chain())
    assert refused(joined(certificate_server(ca, None, check_dates=False), client).shake()) == (
        "certificate_revoked"
    )


def test_a_certificate_for_servers_is_none_for_devices(ca: Issued) -> None:
    device = issue("device", ca, usage=SERVER)
    ends = joined(certificate_server(ca, None, device), certificate_client(ca, device.chain())).shake()
    assert refused(ends) == "certificate_refused"


def test_a_chain_of_a_few_certificates(ca: Issued, device: Issued) -> None:
    """Its own root, and the cross certificates of two roll-overs: nobody needs them, and they may come."""
    chain = device.chain(ca, root("new root"), root("newer root"))
    assert joined(certificate_server(ca, None, device), certificate_client(ca, chain)).shake().done


def test_a_chain_that_is_too_long_is_not_worked_out(ca: Issued, device: Issued) -> None:
    """The library checks each signature before it looks whether the first certificate is known. Four RSA
    keys of 8,192 bits with exponents as long kept the thread of all handshakes busy for 1.5 s."""
    chain = device.chain(*(root(f"root {number}") for number in range(6)))
    assert refused(joined(certificate_server(ca, None, device), certificate_client(ca, chain)).shake()) == (
        "certificate_refused"
    )


def test_a_hello_with_a_long_certificate_behind_it(ca: Issued, device: Issued) -> None:
    """A record holds several messages (RFC 6347 4.2.3): the library would go on with it after its flight."""
    client, server = Session(certificate_client(ca, device.chain())), Session(certificate_server(ca))
    client.advance()
    (hello,) = client.take()
    assert not server.hello(hello, b"here")
    client.advance(server.take()[0])
    (hello,) = client.take()
    part = b"\x0b" + (2049).to_bytes(3, "big") + b"\0\2" + bytes(3) + (100).to_bytes(3, "big") + bytes(100)
    size = len(hello) - HEADER + len(part)
    with pytest.raises(DtlsError):
        server.hello(hello[: HEADER - 2] + size.to_bytes(2, "big") + hello[HEADER:] + part, b"here")
    server.recycle()
    assert server.hello(hello, b"here")


def test_a_device_without_certificate(ca: Issued) -> None:
    client = Context(client=True, roots=[ca.der], cid_bytes=0, suites=ECDSA_SUITES)
    assert refused(joined(certificate_server(ca), client).shake()) == "certificate_missing"


def test_the_key_of_another_certificate_is_no_chain(ca: Issued, device: Issued) -> None:
    other = issue("other", ca)
    with pytest.raises(ValueError, match="chain"):
        certificate_client(ca, device.chain(key=other.key))


@pytest.mark.parametrize("usage", [CLIENT, None])
def test_the_box_must_prove_itself_too(ca: Issued, device: Issued, usage: object) -> None:
    """The client trusts another root than the one of the server's certificate, or it is none for servers."""
    box = issue("box", ca if usage else root("elsewhere"), usage=usage)  # type: ignore[arg-type]
    server = certificate_server(ca, box.chain(), device)
    ends = joined(server, certificate_client(ca, device.chain())).shake()
    assert not ends.client_done
    assert "client" in ends.errors
    assert not ends.server_done


def test_a_chain_with_a_cross_certificate(ca: Issued, device: Issued) -> None:
    """After a roll-over: devices that know only the old root go on, and those with the new one."""
    new = root("new root")
    cross = issue("new root", ca, ca=True, key=new.key)
    box = issue("box", new, usage=SERVER)
    names = Ring()
    renewed = issue("device", new, usage=CLIENT)
    for issued in (device, renewed):
        names.put(Kind.CERTIFICATE, issued.fingerprint)
    server = Context(ring=names, chain=box.chain(cross), roots=[new.der, ca.der])
    assert joined(server, certificate_client(ca, device.chain())).shake().done
    assert joined(server, certificate_client(new, renewed.chain())).shake().done


def test_sections_that_cannot_be_read(ca: Issued, device: Issued) -> None:
    whole = device.chain()
    for chain in (
        Chain((), whole.key),
        Chain((b"",), whole.key),
        Chain((whole.certificates[0][:-1],), whole.key),
        Chain(whole.certificates, whole.key[:-1]),
        Chain(whole.certificates, b""),
    ):
        with pytest.raises(ValueError, match="chain") as caught:
            Context(ring=Ring(), chain=chain, roots=[ca.der])
        assert whole.key.hex() not in str(caught.value)
    with pytest.raises(ValueError, match="roots"):
        Context(ring=Ring(), roots=[b"\x30\x00"])


# Before the handshake


def test_a_cookie_comes_first_and_binds_the_address() -> None:
    server, client = Session(psk_server()), Session(psk_client())
    client.advance()
    (hello,) = client.take()
    assert not server.hello(hello, b"here")
    (verify,) = server.take()
    assert len(verify) <= len(hello), "an amplifier"
    assert verify[13] == 3  # HelloVerifyRequest
    client.advance(verify)
    (second,) = client.take()
    assert not server.hello(second, b"elsewhere")
    server.take()
    assert server.hello(second, b"here")


def test_a_cookie_outlives_a_change_of_certificate(ca: Issued, device: Issued) -> None:
    names = ring()
    before = Context(ring=names)
    after = Context(ring=names, chain=issue("box", ca, usage=SERVER).chain(), roots=[ca.der])
    client = Session(psk_client())
    client.advance()
    old = Session(before)
    assert not old.hello(client.take()[0], b"here")
    client.advance(old.take()[0])
    assert Session(after).hello(client.take()[0], b"here")


def test_the_version_that_old_clients_write_in_front() -> None:
    """Anjay over Mbed TLS 2.28: version 254.0 in the record of a ClientHello, which nobody else sends."""
    ends = joined(psk_server(), psk_client())

    def old(datagram: Datagram) -> list[Datagram]:
        if datagram.to_server and datagram.data[0] == HANDSHAKE and datagram.data[13] == 1:
            return [Datagram(True, datagram.data[:1] + b"\xfe\x00" + datagram.data[3:])]
        return [datagram]

    assert ends.shake(alters=old).done
    ends.exchange()


@pytest.mark.parametrize("length", [0, 1, 12, 13, 14, 25, 26, 60, 2000])
def test_a_hello_of_nonsense(length: int) -> None:
    server = Session(psk_server())
    with pytest.raises(DtlsError):
        server.hello((b"\x16\xfe\xfd" + bytes(length))[:length], b"here")
    server.recycle()
    client = Session(psk_client())
    client.advance()
    assert not server.hello(client.take()[0], b"here")


def test_secrets_stay_out_of_sight(ca: Issued, device: Issued) -> None:
    chain = device.chain()
    context = psk_client()
    ends = joined(psk_server(), psk_client(key=b"z" * 16)).shake()
    seen = [repr(chain), repr(context), repr(ends.server), repr(vars(context))]
    seen += [f"{error!r} {error} {error.hint}" for error in ends.errors.values()]
    for text in seen:
        for secret in (KEY, b"z" * 16, chain.key):
            assert secret.hex() not in text
            assert repr(secret)[2:-1] not in text
