"""How values, times and states are written for people.

`static/js/format.js` does the same in the browser for what arrives live; tests/browser holds the two
against each other. What programs read (the API) does not pass through here.

The functions write in the language of the request. The tables are English, to be translated where they are
shown.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ..lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    DELIVERY,
    FIRMWARE_UPDATE,
    CampaignState,
    Delivery,
    UpdateState,
)
from ..lwm2m.units import display_unit
from .language import ENGLISH, N_, gettext, language, ngettext

NARROW_SPACE: Final = "\u202f"
MINUS: Final = "\u2212"
MONTHS: Final = (
    N_("Jan"),
    N_("Feb"),
    N_("Mar"),
    N_("Apr"),
    N_("May"),
    N_("Jun"),
    N_("Jul"),
    N_("Aug"),
    N_("Sep"),
    N_("Oct"),
    N_("Nov"),
    N_("Dec"),
)

STATES: Final[Mapping[str, str]] = {
    "online": N_("Online"),
    "sleeping": N_("Sleeping"),
    "offline": N_("Offline"),
}
STATE_NOTES: Final[Mapping[str, str]] = {
    "online": N_("listening"),
    "sleeping": N_("wakes by itself"),
    "offline": N_("not reachable"),
}

CREDENTIAL_KINDS: Final[Mapping[str, str]] = {"psk": N_("Pre-shared key"), "certificate": N_("Certificate")}
CREDENTIAL_STATES: Final[Mapping[str, str]] = {
    "offered": N_("Waiting for its first use"),
    "active": N_("In use"),
    "replaced": N_("Replaced"),
    "revoked": N_("Removed"),
}
CREDENTIAL_ORIGINS: Final[Mapping[str, str]] = {
    "operator": N_("Made here"),
    "enrolment": N_("Enrolled by itself"),
    "bootstrap": N_("Renewed by bootstrap"),
}
CERTIFICATE_KINDS: Final[Mapping[str, str]] = {
    "root": N_("Root"),
    "cross": N_("Bridge to the newer root"),
    "dtls": N_("Shown to devices (CoAP over DTLS)"),
    "https": N_("Shown to browsers (HTTPS)"),
}
CERTIFICATE_STATES: Final[Mapping[str, str]] = {
    "current": N_("In use"),
    "old": N_("Still trusted"),
    "provisional": N_("Provisional"),
}
# What happens to a certificate by itself, by kind and state: for who does not read the English of pki/.
CERTIFICATE_REASONS: Final[Mapping[tuple[str, str], str]] = {
    ("root", "current"): N_(
        "It will be rolled over to a new root long before its end, so that every device can learn of the new"
        " one while both are trusted."
    ),
    ("root", "old"): N_(
        "A newer root has taken its place. Devices that know only this one go on until its overlap ends; by"
        " then they must have got the newer one, which a bootstrap brings them."
    ),
    ("cross", "current"): N_("It leads devices that know only the older root to the newer one."),
    ("dtls", "current"): N_(
        "It will be made anew when two thirds of its life are over; no connection is lost by that."
    ),
    ("https", "current"): N_(
        "It will be made anew when two thirds of its life are over; no connection is lost by that."
    ),
    ("https", "provisional"): N_("It is signed by itself and serves until the clock is right."),
}

SWITCH: Final[Mapping[str, str]] = {"true": N_("On"), "false": N_("Off")}
YES_NO: Final[Mapping[str, str]] = {"true": N_("Yes"), "false": N_("No")}
# From here on, resource ids are the reusable ones, where a boolean is a switch or a sensor.
FIRST_REUSABLE: Final = 2048

# Of Firmware Update and Advanced Firmware Update alike (LwM2M Core 1.1.1 E.6, object 33629).
_UPDATE_STATES: Final = {
    "0": N_("Idle"),
    "1": N_("Downloading"),
    "2": N_("Downloaded"),
    "3": N_("Updating"),
}
_UPDATE_RESULTS: Final = {
    "0": N_("None yet"),
    "1": N_("Updated"),
    "2": N_("Not enough flash memory"),
    "3": N_("Out of memory"),
    "4": N_("Connection lost"),
    "5": N_("Integrity check failed"),
    "6": N_("Unsupported package"),
    "7": N_("Invalid address"),
    "8": N_("Update failed"),
    "9": N_("Unsupported protocol"),
    "10": N_("Cancelled"),
    "11": N_("Deferred"),
    "12": N_("Another part is being updated"),
    "13": N_("Another part must be updated first"),
}
_UPDATE_PROTOCOLS: Final = {
    "0": "CoAP",
    "1": "CoAPS",
    "2": "HTTP",
    "3": "HTTPS",
    "4": N_("CoAP over TCP"),
    "5": N_("CoAP over TLS"),
}
_UPDATE_METHODS: Final = {"0": N_("Pull only"), "1": N_("Push only"), "2": N_("Push or pull")}

# Enumerations, by object and resource id (LwM2M Core 1.1.1 appendix E.4 and E.6).
MEANINGS: Final[Mapping[tuple[int, int], Mapping[str, str]]] = {
    (3, 6): {
        "0": N_("DC power"),
        "1": N_("Internal battery"),
        "2": N_("External battery"),
        "3": N_("Fuel cell"),
        "4": N_("Power over Ethernet"),
        "5": N_("USB"),
        "6": N_("Mains"),
        "7": N_("Solar"),
    },
    (3, 11): {
        "0": N_("No error"),
        "1": N_("Low battery"),
        "2": N_("External power is off"),
        "3": N_("GPS failure"),
        "4": N_("Weak signal"),
        "5": N_("Out of memory"),
        "6": N_("SMS failure"),
        "7": N_("No IP connection"),
        "8": N_("Peripheral failure"),
    },
    (3, 20): {
        "0": N_("Normal"),
        "1": N_("Charging"),
        "2": N_("Fully charged"),
        "3": N_("Damaged"),
        "4": N_("Low"),
        "5": N_("Not installed"),
        "6": N_("Unknown"),
    },
    (5, 3): _UPDATE_STATES,
    (5, 5): _UPDATE_RESULTS,
    (5, 8): _UPDATE_PROTOCOLS,
    (5, 9): _UPDATE_METHODS,
    (33629, 3): _UPDATE_STATES,
    (33629, 5): _UPDATE_RESULTS,
    (33629, 8): _UPDATE_PROTOCOLS,
    (33629, 9): _UPDATE_METHODS,
}

# What an operation is called, and what it is told by; %(paths)s are its paths.
OPERATION_NAMES: Final[Mapping[str, str]] = {
    "read": N_("Read"),
    "write": N_("Write"),
    "write_partial": N_("Partial update"),
    "write_attributes": N_("Write-Attributes"),
    "discover": N_("Discover"),
    "execute": N_("Execute"),
    "create": N_("Create"),
    "delete": N_("Delete"),
    "read_composite": N_("Read-Composite"),
    "write_composite": N_("Write-Composite"),
    "observe": N_("Observe"),
    "observe_composite": N_("Observe-Composite"),
    "cancel": N_("Cancel observation"),
    "cancel_passive": N_("Cancel observation, passively"),
}
OPERATION_TITLES: Final[Mapping[str, str]] = {
    "read": N_("Read of %(paths)s"),
    "write": N_("Write to %(paths)s"),
    "write_partial": N_("Partial update of %(paths)s"),
    "write_attributes": N_("Write-Attributes of %(paths)s"),
    "discover": N_("Discover of %(paths)s"),
    "execute": N_("Execute of %(paths)s"),
    "create": N_("Create in %(paths)s"),
    "delete": N_("Delete of %(paths)s"),
    "read_composite": N_("Read-Composite of %(paths)s"),
    "write_composite": N_("Write-Composite of %(paths)s"),
    "observe": N_("Observation of %(paths)s"),
    "observe_composite": N_("Composite observation of %(paths)s"),
    "cancel": N_("End of the observation of %(paths)s"),
    "cancel_passive": N_("Passive end of the observation of %(paths)s"),
}
OPERATION_STATUS: Final[Mapping[str, str]] = {
    "QUEUED": N_("Waiting"),
    "SENDING": N_("Running"),
    "CONFIRMED": N_("Done"),
    "FAILED": N_("Failed"),
    "EXPIRED": N_("Expired"),
    "CANCELLED": N_("Cancelled"),
}
# Where an update and a campaign stand. `static/js/firmware_live.js` writes the same words.
UPDATE_WORDS: Final[Mapping[str, str]] = {
    UpdateState.WAITING: N_("Waiting"),
    UpdateState.PREPARING: N_("Preparing"),
    UpdateState.DOWNLOADING: N_("Downloading"),
    UpdateState.DOWNLOADED: N_("Downloaded"),
    UpdateState.UPDATING: N_("Installing"),
    UpdateState.SUCCEEDED: N_("Done"),
    UpdateState.FAILED: N_("Failed"),
    UpdateState.REVERTED: N_("Old version is back"),
    UpdateState.CANCELLED: N_("Cancelled"),
}
CAMPAIGN_WORDS: Final[Mapping[str, str]] = {
    CampaignState.SCHEDULED: N_("Scheduled"),
    CampaignState.RUNNING: N_("Running"),
    CampaignState.PAUSED: N_("Paused"),
    CampaignState.STOPPED: N_("Stopped"),
    CampaignState.DONE: N_("Done"),
}
# How a package gets to a device; the best way first.
DELIVERY_WORDS: Final[Mapping[str, str]] = {
    Delivery.COAPS: N_("The device fetches it, encrypted (CoAP over DTLS)"),
    Delivery.HTTPS: N_("The device fetches it, encrypted (HTTPS)"),
    Delivery.COAP: N_("The device fetches it, unencrypted (CoAP)"),
    Delivery.PUSH: N_("The box sends it, block by block"),
}
ASKED_BY: Final[Mapping[str, str]] = {
    "web": N_("Browser or REST"),
    "console": N_("Command line"),
    "leshan": N_("Leshan's API"),
    "watch list": N_("watch list"),
}
# The states of an observation, as `ports.Reporting` names them.
OBSERVATION_STATES: Final[Mapping[str, str]] = {
    "active": N_("The device reports it by itself"),
    "waiting": N_("Will be asked for when the device listens"),
    "refused": N_("The device refuses to report it"),
    "off": N_("Ended here, so the watch list leaves it alone"),
}
# CoAP codes (RFC 7252 12.1.2, RFC 7959 6, RFC 8132 6), and what LwM2M makes of them (Transport 1.1.1 6.4).
CODE_NAMES: Final[Mapping[str, str]] = {
    "2.01": "Created",
    "2.02": "Deleted",
    "2.03": "Valid",
    "2.04": "Changed",
    "2.05": "Content",
    "2.31": "Continue",
    "4.00": "Bad Request",
    "4.01": "Unauthorized",
    "4.02": "Bad Option",
    "4.03": "Forbidden",
    "4.04": "Not Found",
    "4.05": "Method Not Allowed",
    "4.06": "Not Acceptable",
    "4.08": "Request Entity Incomplete",
    "4.09": "Conflict",
    "4.12": "Precondition Failed",
    "4.13": "Request Entity Too Large",
    "4.15": "Unsupported Content-Format",
    "4.22": "Unprocessable Entity",
    "4.29": "Too Many Requests",
    "5.00": "Internal Server Error",
    "5.01": "Not Implemented",
    "5.02": "Bad Gateway",
    "5.03": "Service Unavailable",
    "5.04": "Gateway Timeout",
    "5.05": "Proxying Not Supported",
}
CODE_MEANINGS: Final[Mapping[str, str]] = {
    "4.00": N_("the device does not take the request, or the value, as it is"),
    "4.01": N_("the device does not let this server do that"),
    "4.02": N_("the device does not know an option of the request"),
    "4.03": N_("the device does not let this server do that"),
    "4.04": N_("the device has no such object, instance or resource"),
    "4.05": N_("the device does not allow that on this path"),
    "4.06": N_("the device cannot answer in that format"),
    "4.08": N_("parts of the request did not reach the device"),
    "4.09": N_("the device cannot do that in its present state"),
    "4.12": N_("a condition of the request is not met"),
    "4.13": N_("the device has no room for so much at once"),
    "4.15": N_("the device does not understand the format"),
    "4.22": N_("the device understands the request and cannot follow it"),
    "4.29": N_("the device asks for fewer requests"),
    "5.00": N_("something went wrong in the device"),
    "5.01": N_("the device cannot do that at all"),
    "5.03": N_("the device has no time now"),
    "5.04": N_("what stands behind the device does not answer"),
}
# What an Execute does that one may regret (LwM2M Core 1.1.1 appendix E; object 9 of the registry).
CONSEQUENCES: Final[Mapping[tuple[int, int], str]] = {
    (1, 4): N_(
        "The device signs off and stays away for as long as its resource 5 says, a day if it has none."
    ),
    (1, 9): N_("The device leaves, and comes back with what its bootstrap server gives it."),
    (3, 4): N_("The device restarts. What it is doing now is interrupted."),
    (3, 5): N_(
        "The device goes back to its factory settings. Its credentials may go with the rest, and then it "
        "cannot come back by itself."
    ),
    (5, 2): N_("The device installs the firmware it has downloaded, and restarts."),
    (8, 3): N_("The device erases what its user keeps on it."),
    (9, 4): N_("The device installs the software it has downloaded."),
    (9, 6): N_("The device removes the software."),
    (9, 11): N_("The device stops the software."),
}

# Units that LwM2M Core 1.1.1 E.4 gives in words and the registry's newer versions leave out.
CORE_UNITS: Final[Mapping[tuple[int, int], str]] = {(3, 7): "mV", (3, 8): "mA", (3, 10): "KB"}

CONTENT_FORMATS: Final[Mapping[int, str]] = {
    0: N_("plain text"),
    40: N_("link format"),
    42: N_("opaque"),
    60: "CBOR",
    110: "SenML JSON",
    112: "SenML CBOR",
    1542: N_("TLV (old number)"),
    1543: N_("JSON (old number)"),
    11542: "TLV",
    11543: "JSON",
    11544: "LwM2M CBOR",
}
TRANSPORTS: Final[Mapping[str, str]] = {
    "U": "UDP",
    "T": "TCP",
    "S": "SMS",
    "N": "Non-IP",
    "M": "MQTT",
    "H": "HTTP",
}


def number_text(value: float, *, degrees: bool = False) -> str:
    """A reading with as many digits as a person wants: 21.50, 1 013.3, 0.031; integers in full."""
    if isinstance(value, int):
        return _signed(_grouped(str(value)))
    value += 0.0  # there is no minus zero for people
    size = abs(value)
    if size != 0 and not 0.001 <= size < 1e15:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return _signed(_decimal(f"{mantissa}e{int(exponent)}"))
    if degrees:
        decimals = 5
    elif size >= 10_000:
        decimals = 0
    elif size >= 100:
        decimals = 1
    else:
        decimals = 2 if size >= 1 or size == 0 else 3
    return _signed(_grouped(f"{value:.{decimals}f}"))


def unit_text(units: str) -> str:
    """A unit as it is written after a value; Leshan's sensors spell Celsius in small letters."""
    return display_unit("Cel" if units == "cel" else units)


def duration_text(seconds: float) -> str:
    """A span in its largest whole unit: 45 s, 5 min, 3 h, 12 d."""
    if seconds < 60:
        return f"{max(0, int(seconds))} s"
    if seconds < 3600:
        return f"{int(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{int(seconds / 3600)} h"
    return f"{int(seconds / 86400)} d"


def span_text(span_ms: int) -> str:
    """How long something took: 40 ms, 1.2 s, then as `duration_text`."""
    if span_ms < 1000:
        return f"{span_ms} ms"
    if span_ms < 60_000:
        return _decimal(f"{span_ms / 1000:.1f} s")
    return duration_text(span_ms / 1000)


def size_text(size: int) -> str:
    """Bytes as a package counts them: 812 B, 256.0 KiB, 1.5 MiB."""
    if size < 1024:
        return f"{size}\u00a0B"
    if size < 1024 * 1024:
        return f"{_decimal(f'{size / 1024:.1f}')}\u00a0KiB"
    return f"{_decimal(f'{size / (1024 * 1024):.1f}')}\u00a0MiB"


def left_text(until_ms: int, now_ms: int) -> str:
    """How long something lasts yet, as a clock counts down: 9:05; 1:00:00 from an hour on."""
    left_s = max(0, -(-(until_ms - now_ms) // 1000))
    minutes, seconds = divmod(left_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def fingerprint_text(digest: str) -> str:
    """A fingerprint as browsers write it: AB:CD:..., from hexadecimal."""
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)).upper()


def ago_text(then_ms: int, now_ms: int) -> str:
    """How long ago; a moment in the near future (a device's clock) counts as now."""
    seconds = (now_ms - then_ms) / 1000
    if seconds < 2:
        return gettext("just now")
    return gettext("%(span)s ago") % {"span": duration_text(seconds)}


def ahead_text(then_ms: int, now_ms: int) -> str:
    """How far ahead; what should have happened already is due now. Years from two on."""
    seconds = (then_ms - now_ms) / 1000
    if seconds < 1:
        return gettext("due now")
    years = int(seconds / (365.25 * 86400))
    if years >= 2:
        return ngettext("in %(num)s year", "in %(num)s years", years) % {"num": years}
    return gettext("in %(span)s") % {"span": duration_text(seconds)}


def moment_text(time_ms: int) -> str:
    """A moment in the box's own time zone, such as `22 Nov 2026, 13:38`; the browser writes its own."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000).astimezone()
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
    return gettext("%(day)s %(month)s %(year)s, %(time)s") % {
        "day": moment.day,
        "month": gettext(MONTHS[moment.month - 1]),
        "year": moment.year,
        "time": f"{moment:%H:%M}",
    }


def labels_of(object_id: int, resource_id: int, data_type: str) -> Mapping[str, str] | None:
    """The words for a boolean's or an enumeration's values, None where the value speaks for itself."""
    if object_id == ADVANCED_FIRMWARE_UPDATE and resource_id <= DELIVERY:
        object_id = FIRMWARE_UPDATE  # up to there it has the same resources
    if data_type == "boolean":
        labels = SWITCH if resource_id >= FIRST_REUSABLE else YES_NO
    elif (object_id, resource_id) in MEANINGS:
        labels = MEANINGS[object_id, resource_id]
    else:
        return None
    return labels if language() is ENGLISH else {key: gettext(words) for key, words in labels.items()}


def asked_by_text(name: str) -> str:
    """Who asked for something: a person by name, or the way it came."""
    return gettext(ASKED_BY[name]) if name in ASKED_BY else name


def code_text(code: str) -> str:
    """A CoAP code with its name: 4.04 Not Found."""
    return f"{code} {CODE_NAMES[code]}" if code in CODE_NAMES else code


def _grouped(digits: str) -> str:
    """Groups of three from five digits on: 86 400, but 8640."""
    whole, dot, rest = digits.partition(".")
    if len(whole.lstrip("-")) > 4:
        whole = f"{int(whole):,}".replace(",", NARROW_SPACE)
    return _decimal(whole + dot + rest)


def _decimal(digits: str) -> str:
    """A number with the decimal sign of the language."""
    return digits.replace(".", language().decimal)


def _signed(digits: str) -> str:
    return MINUS + digits[1:] if digits.startswith("-") else digits
