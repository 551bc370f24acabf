"""What a fleet of simulated devices shall be like: one frozen dataclass, checked as a whole."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ..errors import UsageError
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.paths import Path
from .accounts import server_uri
from .channel import LIKE_ZEPHYR, MAX_CID_BYTES, DtlsOptions
from .credentials import Credentials
from .firmware_options import AS_SOLD, FirmwareOptions
from .wire import RFC_7252, Transmission

MAX_COUNT: Final = 50_000
MAX_NAME: Final = 32  # Zephyr cuts a longer Endpoint Client Name off
_DEFAULT_FORMATS: Final = {
    "1.0": ContentFormat.TLV,
    "1.1": ContentFormat.SENML_CBOR,
    "1.2": ContentFormat.SENML_CBOR,
}
_FORMATS_1_0: Final = frozenset(
    {
        ContentFormat.TEXT,
        ContentFormat.OPAQUE,
        ContentFormat.OLD_TLV,
        ContentFormat.OLD_JSON,
        ContentFormat.TLV,
        ContentFormat.JSON,
    }
)
_FORMATS_1_1: Final = _FORMATS_1_0 | {
    ContentFormat.CBOR,
    ContentFormat.SENML_JSON,
    ContentFormat.SENML_CBOR,
}
# What a device of each LwM2M version can read and write (LwM2M Core 7.4 of that version).
SUPPORTED_FORMATS: Final = {
    "1.0": _FORMATS_1_0,
    "1.1": _FORMATS_1_1,
    "1.2": _FORMATS_1_1 | {ContentFormat.LWM2M_CBOR},
}


class Reporting(StrEnum):
    """How readings reach the server."""

    NOTIFY = "notify"  # as notifications, once the server observes
    SEND = "send"  # by Send, unasked
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class SimOptions:
    """A fleet: names are `prefix-0001` and so on, or the one name `only`; durations are seconds.

    `content_format` is what a device prefers where the server does not say; None takes the usual
    one of the LwM2M version. In Queue Mode a device listens for `awake_s` after every exchange,
    then is deaf until it wakes to report, every `wake_period_s`. `stagger_s` lies between the
    starts of two devices. `seed` settles all readings. With `deregister` off the devices vanish.

    With `credentials` the devices speak DTLS, as `dtls` says. Every `rebind_every_s` a device goes on
    from a new port and tells nobody, as behind a NAT that forgot it (0: never). With `bootstrap`
    host and port are those of a Bootstrap-Server, asked `bootstrap_hold_s` after the start. How updates
    of the firmware go is in `firmware`.
    """

    host: str = "127.0.0.1"
    port: int = 5683
    count: int = 3
    prefix: str = "sim"
    first_number: int = 1
    only: str = ""
    lifetime_s: int = 300
    queue_mode: bool = False
    awake_s: float = 20.0
    wake_period_s: float = 60.0
    lwm2m_version: str = "1.1"
    content_format: ContentFormat | None = None
    sample_period_s: float = 5.0
    reporting: Reporting = Reporting.NOTIFY
    send_paths: tuple[str, ...] = ("/3303/0/5700", "/3304/0/5700", "/3/0/9", "/3/0/7")
    confirmable: bool = True
    block_size: int = 1024
    seed: int = 1
    stagger_s: float = 0.01
    deregister: bool = True
    stop_timeout_s: float = 5.0
    status_period_s: float = 10.0
    transmission: Transmission = RFC_7252
    credentials: Credentials | None = field(default=None, repr=False)
    dtls: DtlsOptions = LIKE_ZEPHYR
    rebind_every_s: float = 0.0
    bootstrap: bool = False
    bootstrap_hold_s: float = 0.0
    firmware: FirmwareOptions = AS_SOLD

    @property
    def preferred_format(self) -> ContentFormat:
        if self.content_format is not None:
            return self.content_format
        return _DEFAULT_FORMATS[self.lwm2m_version]

    def name(self, index: int) -> str:
        """The Endpoint Client Name of a device, `index` from 0: `sim-0001`."""
        if self.only:
            return self.only
        return f"{self.prefix}-{self.first_number + index:04d}"

    @property
    def uri(self) -> str:
        """Where the devices go first: `coaps://127.0.0.1:5684`."""
        return server_uri(self.host, self.port, self.credentials is not None)

    def check(self) -> None:
        """Raise UsageError("sim_options_invalid") naming all that cannot be."""
        wrong = list(self._wrong())
        if wrong:
            raise UsageError("sim_options_invalid", "; ".join(wrong), "see flownexus sim --help")

    def _wrong(self) -> list[str]:
        wrong = []
        if not 1 <= self.port <= 65535:
            wrong.append("port is 1 to 65535")
        if not 1 <= self.count <= MAX_COUNT:
            wrong.append(f"count is 1 to {MAX_COUNT}")
        if self.only and self.count != 1:
            wrong.append("a name of its own is for one device")
        if not self.prefix or len(self.name(self.count - 1)) > MAX_NAME:
            wrong.append(f"a name has at most {MAX_NAME} characters, its prefix at least one")
        if self.lifetime_s < 10:
            wrong.append("lifetime is at least 10 s")
        if min(self.awake_s, self.wake_period_s, self.sample_period_s) <= 0:
            wrong.append("periods are above 0 s")
        durations = (self.stagger_s, self.stop_timeout_s, self.rebind_every_s, self.bootstrap_hold_s)
        if min(durations) < 0 or self.status_period_s <= 0:
            wrong.append("durations are not negative")
        if self.dtls.cid_bytes is not None and not 0 <= self.dtls.cid_bytes <= MAX_CID_BYTES:
            wrong.append(f"a Connection ID has 0 to {MAX_CID_BYTES} bytes")
        if self.dtls.live < 1:
            wrong.append("at least 1 session is live")
        if not 16 <= self.block_size <= 1024:
            wrong.append("block size is 16 to 1024 bytes")
        if self.lwm2m_version not in SUPPORTED_FORMATS:
            wrong.append("LwM2M version is 1.0, 1.1 or 1.2")
        elif self.preferred_format not in SUPPORTED_FORMATS[self.lwm2m_version]:
            wrong.append(f"LwM2M {self.lwm2m_version} has no Content-Format {self.preferred_format:d}")
        elif self.lwm2m_version == "1.0" and self.reporting is not Reporting.NOTIFY:
            wrong.append("Send came with LwM2M 1.1")
        wrong.extend(self.firmware.wrong())
        try:
            for text in self.send_paths:
                Path.parse(text, UsageError)
        except UsageError as error:
            wrong.append(error.message)
        return wrong
