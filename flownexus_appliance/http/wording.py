"""How values, times and states are written for people.

`static/js/format.js` does the same in the browser for what arrives live; tests/browser holds the two
against each other. What programs read (the API) does not pass through here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from ..lwm2m.units import display_unit

NARROW_SPACE: Final = "\u202f"
MINUS: Final = "\u2212"

STATES: Final[Mapping[str, str]] = {"online": "Online", "sleeping": "Sleeping", "offline": "Offline"}
STATE_NOTES: Final[Mapping[str, str]] = {
    "online": "listening",
    "sleeping": "wakes by itself",
    "offline": "not reachable",
}

CREDENTIAL_KINDS: Final[Mapping[str, str]] = {"psk": "Pre-shared key", "certificate": "Certificate"}
CREDENTIAL_STATES: Final[Mapping[str, str]] = {
    "offered": "Waiting for its first use",
    "active": "In use",
    "replaced": "Replaced",
    "revoked": "Removed",
}
CREDENTIAL_ORIGINS: Final[Mapping[str, str]] = {
    "operator": "Made here",
    "enrolment": "Enrolled by itself",
    "bootstrap": "Renewed by bootstrap",
}
CERTIFICATE_KINDS: Final[Mapping[str, str]] = {
    "root": "Root",
    "cross": "Bridge to the newer root",
    "dtls": "Shown to devices (CoAP over DTLS)",
    "https": "Shown to browsers (HTTPS)",
}
CERTIFICATE_STATES: Final[Mapping[str, str]] = {
    "current": "In use",
    "old": "Still trusted",
    "provisional": "Provisional",
}

SWITCH: Final[Mapping[str, str]] = {"true": "On", "false": "Off"}
YES_NO: Final[Mapping[str, str]] = {"true": "Yes", "false": "No"}
# From here on, resource ids are the reusable ones, where a boolean is a switch or a sensor.
FIRST_REUSABLE: Final = 2048

# Enumerations, by object and resource id (LwM2M Core 1.1.1 appendix E.4 and E.6).
MEANINGS: Final[Mapping[tuple[int, int], Mapping[str, str]]] = {
    (3, 6): {
        "0": "DC power",
        "1": "Internal battery",
        "2": "External battery",
        "3": "Fuel cell",
        "4": "Power over Ethernet",
        "5": "USB",
        "6": "Mains",
        "7": "Solar",
    },
    (3, 11): {
        "0": "No error",
        "1": "Low battery",
        "2": "External power is off",
        "3": "GPS failure",
        "4": "Weak signal",
        "5": "Out of memory",
        "6": "SMS failure",
        "7": "No IP connection",
        "8": "Peripheral failure",
    },
    (3, 20): {
        "0": "Normal",
        "1": "Charging",
        "2": "Fully charged",
        "3": "Damaged",
        "4": "Low",
        "5": "Not installed",
        "6": "Unknown",
    },
    (5, 3): {"0": "Idle", "1": "Downloading", "2": "Downloaded", "3": "Updating"},
    (5, 5): {
        "0": "None yet",
        "1": "Updated",
        "2": "Not enough flash memory",
        "3": "Out of memory",
        "4": "Connection lost",
        "5": "Integrity check failed",
        "6": "Unsupported package",
        "7": "Invalid address",
        "8": "Update failed",
        "9": "Unsupported protocol",
        "10": "Cancelled",
        "11": "Deferred",
    },
}

# What an operation is called, and what it is told by; %(paths)s are its paths.
OPERATION_NAMES: Final[Mapping[str, str]] = {
    "read": "Read",
    "write": "Write",
    "write_partial": "Partial update",
    "write_attributes": "Write-Attributes",
    "discover": "Discover",
    "execute": "Execute",
    "create": "Create",
    "delete": "Delete",
    "read_composite": "Read-Composite",
    "write_composite": "Write-Composite",
    "observe": "Observe",
    "observe_composite": "Observe-Composite",
    "cancel": "Cancel observation",
    "cancel_passive": "Cancel observation, passively",
}
OPERATION_TITLES: Final[Mapping[str, str]] = {
    "read": "Read of %(paths)s",
    "write": "Write to %(paths)s",
    "write_partial": "Partial update of %(paths)s",
    "write_attributes": "Write-Attributes of %(paths)s",
    "discover": "Discover of %(paths)s",
    "execute": "Execute of %(paths)s",
    "create": "Create in %(paths)s",
    "delete": "Delete of %(paths)s",
    "read_composite": "Read-Composite of %(paths)s",
    "write_composite": "Write-Composite of %(paths)s",
    "observe": "Observation of %(paths)s",
    "observe_composite": "Composite observation of %(paths)s",
    "cancel": "End of the observation of %(paths)s",
    "cancel_passive": "Passive end of the observation of %(paths)s",
}
OPERATION_STATUS: Final[Mapping[str, str]] = {
    "QUEUED": "Waiting",
    "SENDING": "Running",
    "CONFIRMED": "Done",
    "FAILED": "Failed",
    "EXPIRED": "Expired",
    "CANCELLED": "Cancelled",
}
ASKED_BY: Final[Mapping[str, str]] = {
    "web": "Browser or REST",
    "console": "Command line",
    "leshan": "Leshan's API",
}
# The states of an observation, as `ports.Reporting` names them.
OBSERVATION_STATES: Final[Mapping[str, str]] = {
    "active": "The device reports it by itself",
    "waiting": "Will be asked for when the device listens",
    "refused": "The device refuses to report it",
    "off": "Ended here, so the watch list leaves it alone",
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
    "4.00": "the device does not take the request, or the value, as it is",
    "4.01": "the device does not let this server do that",
    "4.02": "the device does not know an option of the request",
    "4.03": "the device does not let this server do that",
    "4.04": "the device has no such object, instance or resource",
    "4.05": "the device does not allow that on this path",
    "4.06": "the device cannot answer in that format",
    "4.08": "parts of the request did not reach the device",
    "4.09": "the device cannot do that in its present state",
    "4.12": "a condition of the request is not met",
    "4.13": "the device has no room for so much at once",
    "4.15": "the device does not understand the format",
    "4.22": "the device understands the request and cannot follow it",
    "4.29": "the device asks for fewer requests",
    "5.00": "something went wrong in the device",
    "5.01": "the device cannot do that at all",
    "5.03": "the device has no time now",
    "5.04": "what stands behind the device does not answer",
}
# What an Execute does that one may regret (LwM2M Core 1.1.1 appendix E; object 9 of the registry).
CONSEQUENCES: Final[Mapping[tuple[int, int], str]] = {
    (1, 4): "The device signs off and stays away for as long as its resource 5 says, a day if it has none.",
    (1, 9): "The device leaves, and comes back with what its bootstrap server gives it.",
    (3, 4): "The device restarts. What it is doing now is interrupted.",
    (3, 5): "The device goes back to its factory settings. Its credentials may go with the rest, and then it "
    "cannot come back by itself.",
    (5, 2): "The device installs the firmware it has downloaded, and restarts.",
    (8, 3): "The device erases what its user keeps on it.",
    (9, 4): "The device installs the software it has downloaded.",
    (9, 6): "The device removes the software.",
    (9, 11): "The device stops the software.",
}

# Units that LwM2M Core 1.1.1 E.4 gives in words and the registry's newer versions leave out.
CORE_UNITS: Final[Mapping[tuple[int, int], str]] = {(3, 7): "mV", (3, 8): "mA", (3, 10): "KB"}

CONTENT_FORMATS: Final[Mapping[int, str]] = {
    0: "plain text",
    40: "link format",
    42: "opaque",
    60: "CBOR",
    110: "SenML JSON",
    112: "SenML CBOR",
    1542: "TLV (old number)",
    1543: "JSON (old number)",
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
        return _signed(f"{mantissa}e{int(exponent)}")
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
    return f"{span_ms / 1000:.1f} s" if span_ms < 60_000 else duration_text(span_ms / 1000)


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
    return "just now" if seconds < 2 else f"{duration_text(seconds)} ago"


def ahead_text(then_ms: int, now_ms: int) -> str:
    """How far ahead; what should have happened already is due now. Years from two on."""
    seconds = (then_ms - now_ms) / 1000
    if seconds < 1:
        return "due now"
    years = int(seconds / (365.25 * 86400))
    return f"in {years} years" if years >= 2 else f"in {duration_text(seconds)}"


def moment_text(time_ms: int) -> str:
    """A moment in the box's own time zone, such as `22 Nov 2026, 13:38`; the browser writes its own."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000).astimezone()
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
    months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    return f"{moment.day} {months[moment.month - 1]} {moment.year}, {moment:%H:%M}"


def labels_of(object_id: int, resource_id: int, data_type: str) -> Mapping[str, str] | None:
    """The words for a boolean's or an enumeration's values, None where the value speaks for itself."""
    if data_type == "boolean":
        return SWITCH if resource_id >= FIRST_REUSABLE else YES_NO
    return MEANINGS.get((object_id, resource_id))


def code_text(code: str) -> str:
    """A CoAP code with its name: 4.04 Not Found."""
    return f"{code} {CODE_NAMES[code]}" if code in CODE_NAMES else code


def _grouped(digits: str) -> str:
    """Groups of three from five digits on: 86 400, but 8640."""
    whole, dot, rest = digits.partition(".")
    if len(whole.lstrip("-")) > 4:
        whole = f"{int(whole):,}".replace(",", NARROW_SPACE)
    return whole + dot + rest


def _signed(digits: str) -> str:
    return MINUS + digits[1:] if digits.startswith("-") else digits
