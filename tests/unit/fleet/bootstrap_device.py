"""A device that bootstraps, played at the wire's far end, and an authority that makes its certificates."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256

from flownexus_appliance.fleet.ports import Method, Sender
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import Value
from flownexus_appliance.pki.devices import DeviceCertificate
from tests.box import models
from tests.unit.fleet.conftest import Asked, silent

BOX = "192.0.2.254"
# What Zephyr 3.3 answers to Bootstrap-Discover, recorded.
ZEPHYR = b'lwm2m="1.1",</0/0>'


def over_dtls(endpoint: str | None, number: int = 1, *, enrolling: bool = False) -> Sender:
    """Who speaks by a DTLS session."""
    return Sender(f"dtls-{number:016x}", f"192.0.2.{number}:40000", endpoint, enrolling, BOX)


@dataclass
class Device:
    """Does what it is asked, unless `refuses` has a code for it ("write /0/1") or `mute` names it."""

    discovered: bytes = ZEPHYR
    refuses: dict[str, str] = field(default_factory=dict)
    mute: set[str] = field(default_factory=set)
    reads: tuple[int, ...] = (110, 112, 11542, 11543, 11544, 42)
    values: dict[str, Value] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    formats: set[int | None] = field(default_factory=set)

    def __call__(self, asked: Asked) -> None:
        step = self._name(asked)
        self.steps.append(step)
        down = asked.downlink
        if step in self.mute:
            asked.fail(silent())
        elif step in self.refuses:
            asked.answer(self.refuses[step])
        elif down.accept == ContentFormat.LINK:
            asked.answer("2.05", self.discovered, ContentFormat.LINK)
        elif down.method is Method.PUT and down.content_format not in self.reads:
            asked.answer("4.15")
        elif down.method is Method.PUT:
            self._write(asked)
            asked.answer("2.04")
        elif down.method is Method.DELETE:
            for path in [p for p in self.values if down.path.covers(Path.parse(p))]:
                del self.values[path]
            asked.answer("2.02")
        elif down.method is Method.GET:
            asked.value({str(Path((*down.path, 0, 0))): 1})
        else:
            asked.answer("2.04")

    def _write(self, asked: Asked) -> None:
        down = asked.downlink
        assert down.content_format is not None
        self.formats.add(down.content_format)
        records = codecs.decode(
            down.content_format, down.payload, base=down.path, types=models().type_of, now_ms=0
        )
        self.values.update({str(record.path): record.value for record in records})

    @staticmethod
    def _name(asked: Asked) -> str:
        down = asked.downlink
        if down.root_path == "/bs":
            return "finish"
        names = {Method.PUT: "write", Method.DELETE: "delete", Method.GET: "read", Method.POST: "execute"}
        name = "discover" if down.accept == ContentFormat.LINK else names[down.method]
        return f"{name} {down.path}"


@dataclass
class Authority:
    """Makes what looks like certificates; `until` is when they stop to be accepted, None: with their end."""

    size: int = 460
    not_after: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    until: datetime | None = None
    chain: tuple[bytes, ...] = (b"R" * 450,)
    made: list[DeviceCertificate] = field(default_factory=list)

    def issue(self, endpoint: str) -> DeviceCertificate:
        number = len(self.made) + 1
        body = f"{endpoint} {number} ".encode().ljust(self.size, b"C")
        made = DeviceCertificate(body, b"K" * 138, sha256(body).digest(), number, self.not_after)
        self.made.append(made)
        return made

    def roots(self) -> tuple[bytes, ...]:
        return self.chain

    def accepted_until(self, certificate: bytes) -> datetime | None:
        return self.until or self.not_after
