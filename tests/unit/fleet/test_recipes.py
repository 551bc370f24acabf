"""What to enter where: the lines of each client carry name, address and key whole, whatever is in them."""

import shlex
from pathlib import Path

import pytest

from flownexus_appliance.fleet.recipes import RECIPES, Material, Pems, Psk, suits

KEY = "11" * 16
STRANGE = 'it\'s a "kitchen" $HOME'
PEMS = Pems("CERT\n", "KEY\n", "ROOT\n")


def psk(endpoint: str = "kitchen", identity: str = "", key: str = KEY, uri: str = "") -> Material:
    name = identity or endpoint
    return Material(uri or "coaps://192.0.2.1:5684", endpoint, Psk(name, name.encode().hex(), key))


def certificate(pems: Pems = PEMS, *, folder: str = "", as_der: bool = False) -> Material:
    return Material("coaps://192.0.2.1:5684", "valve", certificate=pems, folder=Path(folder), as_der=as_der)


def words(name: str, material: Material) -> list[str]:
    return shlex.split(RECIPES[name].lines(material), comments=True)


@pytest.mark.parametrize("name", ["simulator", "anjay", "leshan", "wakaama", "openssl"])
def test_a_shell_gets_every_name_and_key_as_it_is(name: str) -> None:
    found = words(name, psk(STRANGE, key=KEY))
    assert STRANGE in found or f"{STRANGE}:{KEY}" in found or STRANGE.encode().hex() in found
    assert KEY in found or f"{STRANGE}:{KEY}" in found


def test_the_simulator_is_the_device() -> None:
    assert words("simulator", psk("urn:imei:1", uri="coaps://[2001:db8::1]:5685")) == [
        *("flownexus", "sim", "--name", "urn:imei:1", "--host", "2001:db8::1", "--port", "5685"),
        *("--dtls", "--psk", f"urn:imei:1:{KEY}"),
    ]
    assert words("simulator", certificate(folder="v"))[-6:] == [
        *("--cert", "v/certificate.pem", "--key", "v/private-key.pem", "--ca", "v/ca.pem")
    ]


def test_the_modem_gets_identity_and_key_into_the_tag_of_the_library() -> None:
    tag = "35724861"
    assert RECIPES["nrf-at"].lines(psk()).splitlines() == [
        "AT+CFUN=4",
        f'AT%CMNG=0,{tag},4,"kitchen"',
        f'AT%CMNG=0,{tag},3,"{KEY}"',
        "AT+CFUN=1",
    ]
    assert f"CONFIG_LWM2M_CLIENT_UTILS_SERVER_TLS_TAG={tag}\n" in RECIPES["nrf-kconfig"].lines(psk())


def test_the_modem_gets_root_certificate_and_key() -> None:
    lines = RECIPES["nrf-at"].lines(certificate())
    for kind, text in ((0, "ROOT"), (1, "CERT"), (2, "KEY")):
        assert f'AT%CMNG=0,35724861,{kind},"{text}\n"' in lines
    assert ",2," not in RECIPES["nrf-at"].lines(certificate(Pems("CERT\n", "", "ROOT\n")))


def test_kconfig_strings_are_escaped() -> None:
    lines = RECIPES["zephyr-kconfig"].lines(psk('a"b\\'))
    assert 'CONFIG_NET_SAMPLE_LWM2M_ID="a\\"b\\\\"\n' in lines
    assert "overlay-dtls.conf;lwm2m.conf" in lines
    assert "takes the name for the identity" not in lines
    assert "takes the name for the identity" in RECIPES["zephyr-kconfig"].lines(psk(identity="other"))


def test_zephyr_with_a_certificate_has_no_key_among_its_settings() -> None:
    lines = RECIPES["zephyr-kconfig"].lines(certificate())
    assert "PSK" not in lines
    assert "overlay-dtls-cert.conf" in lines


@pytest.mark.parametrize("name", ["anjay", "leshan"])
def test_der_files_are_made_where_nobody_made_them(name: str) -> None:
    lines = RECIPES[name].lines(certificate())
    assert "openssl pkcs8 -topk8 -nocrypt -in private-key.pem -outform DER -out private-key.der\n" in lines
    assert "openssl" not in RECIPES[name].lines(certificate(as_der=True))
    own = RECIPES[name].lines(certificate(Pems("CERT\n", "", "ROOT\n")))
    assert "pkcs8" not in own
    assert "KEY-OF-THE-REQUEST.der" in own


def test_wakaama_speaks_the_addresses_own_ip() -> None:
    assert "-4" in words("wakaama", psk())
    assert "-4" not in words("wakaama", psk(uri="coaps://[2001:db8::1]:5684"))


@pytest.mark.parametrize(
    ("name", "material"),
    [
        ("coap-client", psk(key="1100" * 8)),
        ("nrf-at", psk(identity='quo"te')),
        ("simulator", psk("x" * 33)),
        ("wakaama", certificate()),
    ],
)
def test_what_lines_cannot_carry_does_not_suit(name: str, material: Material) -> None:
    assert not suits(RECIPES[name], material)
    assert suits(RECIPES["openssl"], material)


def test_a_key_is_in_no_repr() -> None:
    assert KEY not in repr(psk())
    assert "KEY" not in repr(certificate())
