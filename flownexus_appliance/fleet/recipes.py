"""What to enter where, so that a device's program uses the credential it was given: lines, client by client.

The one place of these lines: the pages show them, `flownexus device add --for` writes them. Commands are for
a POSIX shell (bash where keys are bytes), settings as Kconfig and the modem's AT commands have them. What
people are told beside the lines is not here. Needs the standard library alone, so that the command line stays
quick.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

COAPS_PORT: Final = 5684
# Where Nordic's client library looks for the credentials of its server.
NRF_SERVER_TAG: Final = 35724861
MIN_KCONFIG_KEY_SIZE: Final = 32  # what Zephyr's sample has
MAX_SIMULATED_NAME: Final = 32
CERTIFICATE: Final = "certificate"
PRIVATE_KEY: Final = "private-key"
CA: Final = "ca"


@dataclass(frozen=True, slots=True)
class Psk:
    """A pre-shared key, hexadecimal; its identity as text, and its bytes, hexadecimal."""

    identity: str
    identity_hex: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pems:
    """A device's certificate, its key ("" where the device has it), the roots to trust, newest first; PEM."""

    certificate: str
    private_key: str = field(repr=False)
    ca: str


@dataclass(frozen=True, slots=True)
class Material:
    """What a device is to hold: one of `psk` and `certificate`, and the address of the box.

    A certificate's files lie in `folder`, as PEM and, where `as_der`, as DER beside it.
    """

    uri: str
    endpoint: str
    psk: Psk | None = None
    certificate: Pems | None = None
    folder: Path = Path()
    as_der: bool = False

    @property
    def address(self) -> str:
        """Host and port, as a URI has them."""
        return self.uri.partition("://")[2]

    @property
    def host(self) -> str:
        """The host alone; an IPv6 address without its brackets."""
        return urlsplit(self.uri).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.uri).port or COAPS_PORT

    def file(self, part: str, ending: str) -> str:
        """The name of a file; of the key that the device has made it is not ours to name."""
        if part == PRIVATE_KEY and self.certificate is not None and not self.certificate.private_key:
            return f"KEY-OF-THE-REQUEST.{ending}"
        return str(self.folder / f"{part}.{ending}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a client is told: its `lines`, and the name of a file that they go to.

    `psk`, `certificate`: what it can hold; `files`: a certificate lies in files beside it.
    """

    file: str
    lines: Callable[[Material], str]
    psk: bool = True
    certificate: bool = True
    files: bool = True


def suits(recipe: Recipe, material: Material) -> bool:
    """Whether a client can hold this at all, and its lines can carry it."""
    if material.psk is None:
        return recipe.certificate
    return recipe.psk and not _uncarried(recipe, material.endpoint, material.psk)


def _uncarried(recipe: Recipe, endpoint: str, psk: Psk) -> bool:
    """coap-client's command line ends at a zero byte, AT commands at a quote; the simulator cuts names."""
    match recipe.file:
        case "coap-client.sh":
            return 0 in bytes.fromhex(psk.key)
        case "nrf.at":
            return '"' in psk.identity
        case "simulator.sh":
            return len(endpoint) > MAX_SIMULATED_NAME
    return False


def _env(m: Material) -> str:
    """For `. device.env` in a shell."""
    values = {"ENDPOINT": m.endpoint, "URI": m.uri}
    if m.psk is not None:
        values |= {
            "PSK_IDENTITY": m.psk.identity,
            "PSK_IDENTITY_HEX": m.psk.identity_hex,
            "PSK_KEY": m.psk.key,
        }
    elif m.certificate is not None:
        folder = m.folder.resolve()
        values |= {"CERTIFICATE": str(folder / f"{CERTIFICATE}.pem"), "CA": str(folder / f"{CA}.pem")}
        if m.certificate.private_key:
            values |= {"PRIVATE_KEY": str(folder / f"{PRIVATE_KEY}.pem")}
    return "".join(f"FLOWNEXUS_{name}={shlex.quote(value)}\n" for name, value in values.items())


def _zephyr(m: Material) -> str:
    """A fragment for Zephyr's sample lwm2m_client, beside its overlay-dtls.conf or overlay-dtls-cert.conf."""
    lines = [
        f"CONFIG_NET_SAMPLE_LWM2M_SERVER={_quoted(m.uri)}",
        f"CONFIG_NET_SAMPLE_LWM2M_ID={_quoted(m.endpoint)}",
    ]
    older = "CONFIG_LWM2M_APP_SERVER and CONFIG_LWM2M_APP_ID"
    overlay = "overlay-dtls-cert.conf"
    if m.psk is not None:
        size = max(MIN_KCONFIG_KEY_SIZE, len(m.psk.identity_hex) // 2, len(m.psk.key) // 2)
        head = ["# Holds a key: keep it out of version control."]
        if m.psk.identity != m.endpoint:
            head.append(f"# The sample takes the name for the identity too, but here it is {m.psk.identity}.")
        lines = [
            *head,
            *lines,
            f"CONFIG_NET_SAMPLE_LWM2M_PSK={_quoted(m.psk.key)}",
            f"CONFIG_LWM2M_SECURITY_KEY_SIZE={size}",
        ]
        older = "CONFIG_LWM2M_APP_SERVER, CONFIG_LWM2M_APP_ID and CONFIG_LWM2M_APP_PSK"
        overlay = "overlay-dtls.conf"
    lines.append(f"# Before Zephyr 4.4: {older}.")
    lines.append("# Save as lwm2m.conf in samples/net/lwm2m_client, then with your board's name:")
    lines.append(f'# west build -b BOARD -- -DEXTRA_CONF_FILE="{overlay};lwm2m.conf"')
    return "\n".join(lines) + "\n"


def _nrf_kconfig(m: Material) -> str:
    """For nRF Connect SDK's sample lwm2m_client, and all that is built on its lwm2m_client_utils."""
    lines = [
        f"CONFIG_LWM2M_CLIENT_UTILS_SERVER={_quoted(m.uri)}",
        f"CONFIG_LWM2M_CLIENT_UTILS_SERVER_TLS_TAG={NRF_SERVER_TAG}",
    ]
    if m.psk is not None:
        lines += [
            "# Only where the AT commands were not entered; holds the key:",
            f"CONFIG_APP_LWM2M_PSK={_quoted(m.psk.key)}",
        ]
    return "\n".join(lines) + "\n"


def _nrf_at(m: Material) -> str:
    """Credential types of %CMNG: 0 root, 1 certificate, 2 private key, 3 PSK, 4 identity."""
    values: list[tuple[int, str]] = []
    if m.psk is not None:
        values = [(4, m.psk.identity), (3, m.psk.key)]
    elif m.certificate is not None:
        values = [(0, m.certificate.ca), (1, m.certificate.certificate)]
        if m.certificate.private_key:
            values.append((2, m.certificate.private_key))
    written = [f'AT%CMNG=0,{NRF_SERVER_TAG},{kind},"{value}"' for kind, value in values]
    return "\n".join(["AT+CFUN=4", *written, "AT+CFUN=1"]) + "\n"


def _simulator(m: Material) -> str:
    arguments = ["--name", m.endpoint, "--host", m.host]
    if m.port != COAPS_PORT:
        arguments += ["--port", str(m.port)]
    arguments += ["--dtls"]
    if m.psk is not None:
        arguments += ["--psk", f"{m.psk.identity}:{m.psk.key}"]
    else:
        arguments += ["--cert", m.file(CERTIFICATE, "pem"), "--key", m.file(PRIVATE_KEY, "pem")]
        arguments += ["--ca", m.file(CA, "pem")]
    return _command("flownexus sim", arguments)


def _anjay(m: Material) -> str:
    """Arguments of Anjay's demo client, which takes the identity's bytes as hexadecimal."""
    arguments = ["--endpoint-name", m.endpoint, "--server-uri", m.uri]
    if m.psk is not None:
        arguments += ["--security-mode", "psk", "--identity", m.psk.identity_hex, "--key", m.psk.key]
    else:
        arguments += ["--security-mode", "cert", "--client-cert-file", m.file(CERTIFICATE, "der")]
        arguments += ["--key-file", m.file(PRIVATE_KEY, "der")]
    return _in_der(m) + _command("./demo", arguments)


def _leshan(m: Material) -> str:
    """Arguments of Leshan's demo client; the newest root is the anchor of its trust (RFC 6698 usage 2)."""
    arguments = ["-n", m.endpoint, "-cid", "on", "-u", f"coaps://{m.address}"]
    if m.psk is not None:
        arguments += ["-i", m.psk.identity, "-p", m.psk.key]
    else:
        arguments += ["-ccert", m.file(CERTIFICATE, "der"), "-cprik", m.file(PRIVATE_KEY, "der")]
        arguments += ["-scert", m.file(CA, "der"), "-cu", "2"]
    return _in_der(m) + _command("java -jar leshan-demo-client.jar", arguments)


def _wakaama(m: Material) -> str:
    """Wakaama's example client with tinydtls, which speaks IPv6 unless it is told otherwise."""
    arguments = [] if ":" in m.host else ["-4"]
    arguments += ["-n", m.endpoint, "-h", m.host, "-p", str(m.port)]
    if m.psk is not None:
        arguments += ["-i", m.psk.identity, "-s", m.psk.key]
    return _command("./lwm2mclient_tinydtls", arguments)


def _openssl(m: Material) -> str:
    """Tries the handshake by hand: it speaks DTLS, and no LwM2M."""
    arguments = ["-dtls1_2", "-connect", m.address]
    if m.psk is not None:
        # A suite without certificates, which openssl would not offer by itself.
        arguments += ["-cipher", "PSK-AES128-GCM-SHA256", "-psk_identity", m.psk.identity]
        arguments += ["-psk", m.psk.key]
    else:
        arguments += ["-cert", m.file(CERTIFICATE, "pem"), "-key", m.file(PRIVATE_KEY, "pem")]
        arguments += ["-CAfile", m.file(CA, "pem"), "-verify_return_error"]
    return _command("openssl s_client", arguments)


def _coap_client(m: Material) -> str:
    """Registers for a minute with libcoap's client, which takes the key's own bytes."""
    words = ["coap-client", "-m", "post"]
    if m.psk is not None:
        escaped = "".join(f"\\x{byte:02x}" for byte in bytes.fromhex(m.psk.key))
        words += ["-u", shlex.quote(m.psk.identity), "-k", f"$'{escaped}'"]
    else:
        files = ("-c", CERTIFICATE), ("-j", PRIVATE_KEY), ("-C", CA)
        words += [word for option, part in files for word in (option, shlex.quote(m.file(part, "pem")))]
    words += ["-O", "15,lwm2m=1.1", "-O", shlex.quote(f"15,ep={m.endpoint}"), "-O", "15,lt=60", "-t", "40"]
    words += ["-e", "'</3/0>'", shlex.quote(f"{m.uri}/rd")]
    return " ".join(words) + "\n"


RECIPES: Final[Mapping[str, Recipe]] = {
    "zephyr-kconfig": Recipe("lwm2m.conf", _zephyr),
    "nrf-at": Recipe("nrf.at", _nrf_at, files=False),
    "nrf-kconfig": Recipe("nrf.conf", _nrf_kconfig),
    "simulator": Recipe("simulator.sh", _simulator),
    "anjay": Recipe("anjay.sh", _anjay),
    "leshan": Recipe("leshan.sh", _leshan),
    "wakaama": Recipe("wakaama.sh", _wakaama, certificate=False),
    "coap-client": Recipe("coap-client.sh", _coap_client),
    "openssl": Recipe("openssl.sh", _openssl),
    "env": Recipe("device.env", _env),
}


def _in_der(m: Material) -> str:
    """Commands that make the DER files of those in PEM, where nobody did."""
    if m.certificate is None or m.as_der:
        return ""
    made = [("openssl x509", CERTIFICATE), ("openssl x509", CA)]
    if m.certificate.private_key:
        made.append(("openssl pkcs8 -topk8 -nocrypt", PRIVATE_KEY))
    return "".join(
        f"{program} -in {m.file(part, 'pem')} -outform DER -out {m.file(part, 'der')}\n"
        for program, part in made
    )


def _command(program: str, arguments: list[str]) -> str:
    return f"{program} {shlex.join(arguments)}\n"


def _quoted(text: str) -> str:
    """A string as Kconfig files have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
