"""What to enter where, so that a device's program uses the credential it was given.

One recipe for each client that many devices run. The commands are for a POSIX shell (bash where keys are
bytes), settings as Kconfig and the modem's AT commands have them. A recipe that cannot carry a name or a
key says so in its note.
"""

import shlex
from dataclasses import dataclass, field

from .provisioning import Given, PskGiven


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to enter into one client: `lines` to copy, `note` what there is to know."""

    client: str
    note: str
    lines: str = field(repr=False)


def recipes(given: Given) -> tuple[Recipe, ...]:
    """For every known client, () where devices cannot reach the box by DTLS."""
    uri = secure_uri(given.uris)
    endpoint = given.credential.endpoint
    if not uri:
        return ()
    if given.psk is not None:
        return _for_psk(uri, endpoint, given.psk)
    return _for_certificate(uri, endpoint)


def secure_uri(uris: tuple[str, ...]) -> str:
    """The address that devices reach the box at by DTLS, "" where there is none."""
    return next((uri for uri in uris if uri.startswith("coaps://")), "")


def _for_psk(uri: str, endpoint: str, psk: PskGiven) -> tuple[Recipe, ...]:
    same = psk.identity == endpoint
    zephyr_note = (
        "Sample samples/net/lwm2m_client, built with overlay-dtls.conf. It uses one name as endpoint"
    )
    zephyr_note += " name and as PSK identity"
    zephyr_note += "." if same else f", which are not the same here: enter {psk.identity} in its code."
    return (
        Recipe(
            "Zephyr",
            zephyr_note + " Older versions call these settings CONFIG_LWM2M_APP_SERVER, _ID and _PSK.",
            f"CONFIG_NET_SAMPLE_LWM2M_SERVER={_kconfig(uri)}\n"
            f"CONFIG_NET_SAMPLE_LWM2M_ID={_kconfig(endpoint)}\n"
            f"CONFIG_NET_SAMPLE_LWM2M_PSK={_kconfig(psk.key)}",
        ),
        Recipe(
            "nRF91 (nRF Connect SDK)",
            "Sample samples/cellular/lwm2m_client. Its endpoint name is urn:imei: and the modem's IMEI,"
            " so the device must be added by that name.",
            f"CONFIG_LWM2M_CLIENT_UTILS_SERVER={_kconfig(uri)}\nCONFIG_APP_LWM2M_PSK={_kconfig(psk.key)}",
        ),
        Recipe(
            "nRF91 modem, by AT commands",
            "Into the security tag that the client library uses for its server."
            + (" This identity has a quote, which AT commands cannot carry." if '"' in psk.identity else ""),
            f'AT+CFUN=4\nAT%CMNG=0,35724861,4,"{psk.identity}"\nAT%CMNG=0,35724861,3,"{psk.key}"',
        ),
        Recipe(
            "Anjay",
            "Its demo takes identity and key as hexadecimal.",
            f"./demo --endpoint-name {shlex.quote(endpoint)} --server-uri {uri} --security-mode psk"
            f" --identity {psk.identity_hex} --key {psk.key}",
        ),
        Recipe(
            "Leshan's demo client",
            "",
            f"java -jar leshan-demo-client.jar -n {shlex.quote(endpoint)} -u {uri}"
            f" -i {shlex.quote(psk.identity)} -p {psk.key}",
        ),
        _libcoap(uri, endpoint, psk),
    )


def _libcoap(uri: str, endpoint: str, psk: PskGiven) -> Recipe:
    """coap-client takes the key's own bytes from its command line, which ends at the first zero byte."""
    key = bytes.fromhex(psk.key)
    if 0 in key:
        note = "Its command line cannot carry this key, which has a zero byte: renew the key to try it."
        return Recipe("libcoap's coap-client", note, "")
    escaped = "".join(f"\\x{byte:02x}" for byte in key)
    query = shlex.quote(f"{uri}/rd")
    name = shlex.quote(f"15,ep={endpoint}")
    return Recipe(
        "libcoap's coap-client",
        "Registers the device for a minute, to see that the key is right. For bash; Debian calls it"
        " coap-client-openssl.",
        f"coap-client -m post -u {shlex.quote(psk.identity)} -k $'{escaped}' -O 15,lwm2m=1.1 -O {name}"
        f" -O 15,lt=60 -t 40 -e '</3/0>' {query}",
    )


def _for_certificate(uri: str, endpoint: str) -> tuple[Recipe, ...]:
    name = shlex.quote(endpoint)
    return (
        Recipe(
            "Zephyr",
            "Security mode 2: the certificate goes to /0/0/3, the root to /0/0/4, the key to /0/0/5. The"
            " sample samples/net/lwm2m_client does so when it is built with overlay-dtls-cert.conf.",
            f"CONFIG_NET_SAMPLE_LWM2M_SERVER={_kconfig(uri)}\nCONFIG_NET_SAMPLE_LWM2M_ID={_kconfig(endpoint)}",
        ),
        Recipe(
            "nRF91 modem, by AT commands",
            "Root, certificate and key go into the security tag that the client library uses for its server;"
            " put the text of each file between the quotes.",
            'AT+CFUN=4\nAT%CMNG=0,35724861,0,"(ca.pem)"\nAT%CMNG=0,35724861,1,"(device.pem)"\n'
            'AT%CMNG=0,35724861,2,"(device.key)"',
        ),
        Recipe(
            "Anjay",
            "Its demo reads DER files.",
            "openssl x509 -in device.pem -outform DER -out device.der\n"
            "openssl pkcs8 -topk8 -nocrypt -in device.key -outform DER -out device.key.der\n"
            f"./demo --endpoint-name {name} --server-uri {uri} --security-mode cert"
            " --client-cert-file device.der --key-file device.key.der",
        ),
        Recipe(
            "Leshan's demo client",
            "It reads DER files, made as for Anjay. How it is to check the server is said by -scert and -cu.",
            f"java -jar leshan-demo-client.jar -n {name} -u {uri} -ccert device.der -cprik device.key.der",
        ),
        Recipe(
            "libcoap's coap-client",
            "Registers the device for a minute, to see that the certificate is right. Debian calls it"
            " coap-client-openssl.",
            f"coap-client -m post -c device.pem -j device.key -C ca.pem -O 15,lwm2m=1.1"
            f" -O {shlex.quote(f'15,ep={endpoint}')} -O 15,lt=60 -t 40 -e '</3/0>'"
            f" {shlex.quote(f'{uri}/rd')}",
        ),
    )


def _kconfig(text: str) -> str:
    """A string as Kconfig files have it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
