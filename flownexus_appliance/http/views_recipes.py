"""What to enter where, as the pages show it: the lines of `fleet.recipes` with what there is to know.

The page of a key begins with the client that was chosen for its device; the others stay folded. A client
whose lines cannot carry a name or a key says so in their place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..fleet.recipes import RECIPES, Material, Pems, Psk, suits
from .language import N_, gettext
from .provisioning import Given

# What a device can be said to be, with its recipes, the first ones first.
CLIENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "zephyr": ("zephyr-kconfig",),
    "nrf91": ("nrf-at", "nrf-kconfig"),
    "esp32": ("zephyr-kconfig",),
    "anjay": ("anjay",),
    "leshan": ("leshan", "wakaama"),
    "simulator": ("simulator",),
    "other": ("coap-client", "openssl"),
}
CLIENT_NAMES: Final[Mapping[str, str]] = {
    "zephyr": N_("Zephyr"),
    "nrf91": N_("nRF91"),
    "esp32": N_("ESP32 or another board with Zephyr"),
    "anjay": N_("Anjay"),
    "leshan": N_("Leshan or Wakaama"),
    "simulator": N_("A simulated device"),
    "other": N_("Something else"),
}
CLIENT_NOTES: Final[Mapping[str, str]] = {
    "zephyr": N_("Zephyr's own LwM2M client, with Mbed TLS."),
    "nrf91": N_("The modem itself speaks DTLS; keys go into it by AT commands."),
    "esp32": N_("As Zephyr; Wi-Fi is set up beside it."),
    "anjay": N_("AVSystem's client and its demo."),
    "leshan": N_("The demo clients of Eclipse."),
    "simulator": N_("A first look without hardware."),
    "other": N_("Any LwM2M 1.0, 1.1 or 1.2 client that speaks DTLS."),
}
TITLES: Final[Mapping[str, str]] = {
    "zephyr-kconfig": N_("Zephyr"),
    "nrf-at": N_("nRF91 modem, by AT commands"),
    "nrf-kconfig": N_("nRF91, settings of nRF Connect SDK"),
    "simulator": N_("Simulator"),
    "anjay": N_("Anjay's demo"),
    "leshan": N_("Leshan's demo client"),
    "wakaama": N_("Wakaama's example client"),
    "coap-client": N_("libcoap's coap-client"),
    "openssl": N_("OpenSSL, the handshake alone"),
}
_ESP32: Final = N_(
    "Wi-Fi is the board's: CONFIG_WIFI=y and CONFIG_NET_L2_WIFI_MGMT=y, and the name and the password of your"
    " network in the program or by wifi connect in its shell."
)
_NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "nrf-kconfig": (
        N_("Sample samples/cellular/lwm2m_client, with the security tag of the AT commands."),
        N_("Its endpoint name is urn:imei: and the modem's IMEI: the device must be added by that name."),
    ),
    "simulator": (N_("It runs at once, on any machine that has FlowNexus and reaches the box."),),
    "anjay": (N_("Its demo takes identity and key as hexadecimal."),),
    "wakaama": (N_("Built with tinydtls."),),
    "coap-client": (
        N_("Registers the device for a minute, to see that all is right."),
        N_("For bash; Debian calls it coap-client-openssl."),
    ),
    "openssl": (N_("Connects and speaks no LwM2M: it shows whether port and credential are right."),),
}
_PSK_NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "zephyr-kconfig": (N_("Sample samples/net/lwm2m_client, built with overlay-dtls.conf."),),
    "nrf-at": (N_("They put identity and key into the security tag of the client library."),),
}
_CERTIFICATE_NOTES: Final[Mapping[str, tuple[str, ...]]] = {
    "zephyr-kconfig": (
        N_("Sample samples/net/lwm2m_client, built with overlay-dtls-cert.conf."),
        N_("Security mode 2: the certificate goes to /0/0/3, the root to /0/0/4, the key to /0/0/5."),
    ),
    "nrf-at": (N_("They put root, certificate and key into the security tag of the client library."),),
    "leshan": (N_("It reads DER files; save the PEM files first."),),
    "anjay": (N_("It reads DER files; save the PEM files first."),),
    "simulator": (N_("Run it in the folder that the PEM files were saved in."),),
}
_UNCARRIED: Final[Mapping[str, str]] = {
    "nrf-at": N_("This identity has a quote, which AT commands cannot carry."),
    "simulator": N_("This name is too long for the simulator: it takes 32 characters."),
    "coap-client": N_(
        "Its command line cannot carry this key, which has a zero byte: renew the key to try it."
    ),
}


@dataclass(frozen=True, slots=True)
class RecipeView:
    """What to enter into one client: `lines` to copy, `notes` what there is to know.

    `first`: it was chosen for the device.
    """

    name: str
    title: str
    notes: tuple[str, ...]
    lines: str = field(repr=False)
    first: bool


def recipes(given: Given, client: str = "") -> tuple[RecipeView, ...]:
    """For every client, the chosen one's first; () where devices cannot reach the box by DTLS."""
    material = material_of(given)
    if not material.uri:
        return ()
    chosen = CLIENTS.get(client, ())
    others = [name for name in TITLES if name not in chosen]
    fitting = [name for name in (*chosen, *others) if _fits(name, material)]
    return tuple(_view(name, material, client, name in chosen) for name in fitting)


def secure_uri(uris: tuple[str, ...]) -> str:
    """The address that devices reach the box at by DTLS, "" where there is none."""
    return next((uri for uri in uris if uri.startswith("coaps://")), "")


def material_of(given: Given) -> Material:
    psk, pems = given.psk, given.certificate
    return Material(
        secure_uri(given.uris),
        given.credential.endpoint,
        None if psk is None else Psk(psk.identity, psk.identity_hex, psk.key),
        None if pems is None else Pems(pems.certificate, pems.private_key, pems.ca),
    )


def _fits(name: str, material: Material) -> bool:
    recipe = RECIPES[name]
    return recipe.psk if material.psk is not None else recipe.certificate


def _view(name: str, material: Material, client: str, first: bool) -> RecipeView:
    if not suits(RECIPES[name], material):
        return RecipeView(name, TITLES[name], (gettext(_UNCARRIED[name]),), "", first)
    kind = _PSK_NOTES if material.psk is not None else _CERTIFICATE_NOTES
    notes = [gettext(note) for note in (*kind.get(name, ()), *_NOTES.get(name, ()))]
    if name == "zephyr-kconfig":
        notes += _about_zephyr(material, client)
    return RecipeView(name, TITLES[name], tuple(notes), RECIPES[name].lines(material), first)


def _about_zephyr(material: Material, client: str) -> list[str]:
    notes = []
    if material.psk is not None and material.psk.identity != material.endpoint:
        told = gettext(
            "It uses one name as endpoint name and as PSK identity, which are not the same here: enter"
            " %(identity)s in its code."
        )
        notes.append(told % {"identity": material.psk.identity})
    if client == "esp32":
        notes.append(gettext(_ESP32))
    return notes
