"""Eclipse Leshan's LwM2M client: the library from Maven, started by leshan/src/LeshanDevice.java.

What it is on the wire, recorded from 2.0.0-M18:
- Register: `b=U` `lwm2m=1.1` `lt=...` `ep=...` (and `Q` in queue mode), payload
  `</>;rt="oma.lwm2m";ct="60 110 112 11542 11543",</1/0>,</3>;ver=1.2,</3/0>,</3303/0>,</3303/1>,</3442/0>`:
  a quoted list of formats, and the Device object in version 1.2 over LwM2M 1.1.
- Update: empty POST. Deregister when it is asked to stop, by SIGTERM too.
- Read without Accept: TLV. An instance as text or CBOR: 5.00, where the specification has 4.06.
- Unsigned integers in TLV are signed to it: it reads 0xC8 as 2^64-56, and writes 2^64-1 as 0xFF.
- Write-Attributes that unset (`pmin` without a value) where nothing was set before stay in its list without a
  value, and every Discover of that object is answered with 5.00 then.
- Writing to a resource that a Replace took away: 5.00, where an instance of it would be made.
- Notifications are confirmable; floats in SenML CBOR are of half precision where that is exact.
- Send: SenML CBOR with every path a full base name of its own.
- DTLS 1.2 by Californium's Scandium: two ClientHellos a handshake, the second with the cookie, and none
  later on. With Connection ID (RFC 9146) of length 0 it uses the server's and wants none itself.
- An instance that is created or deleted, by a server or at the device, it tells by an Update with all links.
- The Test Object (3442) has one resource of every data type, an unsigned integer of 2^63 among them.
"""

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flownexus_appliance.lwm2m.firmware import DeliveryMethod

from .daemon import Credential, Psk
from .program import Program

TARGET = Path(__file__).parent / "leshan" / "target"
STARTS_WITHIN_S = 30.0
PACKAGE_WITHIN_S = 60.0
# What the watch list finds on this client: it has no /3/0/7 and no /6, and no /5 unless its account says so.
OBSERVED = {"/3303/0/5700", "/3303/1/5700", "/3/0/9", "/3/0/11"}
# Resources /0/x/2 and /0/x/15 of LwM2M Core 1.1.1 E.1: security modes, and a certificate usage of RFC 6698.
PSK, X509, NO_SEC = 0, 2, 3
TRUST_ANCHOR = 2


@dataclass(frozen=True, slots=True)
class Account:
    """Where a client goes and by what it proves itself.

    `cid_length` is that of the Connection ID the client gives the server, None for one that knows of none.
    `firmware` is the version it runs, "" for a device without object 5; `delivery` is its Resource /5/0/9.
    `max_body`: no body may be larger that it takes block by block; the default is Californium's.
    """

    uri: str
    credential: Credential | None = None
    cid_length: int | None = None
    bootstrap: bool = False
    queue_mode: bool = False
    lifetime_s: int = 600
    version: str = "1.1"
    firmware: str = ""
    delivery: DeliveryMethod = DeliveryMethod.BOTH
    max_body: int = 8192

    def properties(self, endpoint: str) -> str:
        """As LeshanDevice reads it."""
        entries = {
            "uri": self.uri,
            "endpoint": endpoint,
            "lifetime_s": self.lifetime_s,
            "version": self.version,
            "queue_mode": str(self.queue_mode).lower(),
            "bootstrap": str(self.bootstrap).lower(),
            "cid": -1 if self.cid_length is None else self.cid_length,
            "firmware": self.firmware,
            "delivery": self.delivery.value,
            "max_body": self.max_body,
            "usage": TRUST_ANCHOR,
            "security": NO_SEC,
            "identity": "",
            "key": "",
            "server": "",
        }
        if isinstance(self.credential, Psk):
            identity = self.credential.identity.encode().hex()
            entries.update(security=PSK, identity=identity, key=self.credential.key)
        elif self.credential is not None:
            certificate, key, root = (part.hex() for part in self.credential.der())
            entries.update(security=X509, identity=certificate, key=key, server=root)
        return "".join(f"{name}={value}\n" for name, value in entries.items())


class LeshanClient:
    """One client of a name; `registration_id` is the one of its newest registration."""

    def __init__(self, endpoint: str, account: Account, folder: Path) -> None:
        java = shutil.which("java")
        assert java is not None, "no java here; hint: apt-get install openjdk-17-jdk-headless maven"
        assert (TARGET / "lib").is_dir(), "Leshan is not there; hint: tests/interop/run gets it by mvn"
        self.endpoint = endpoint
        self.registration_id = ""
        properties = folder / f"{endpoint}.properties"
        properties.write_text(account.properties(endpoint), encoding="ascii")
        # The client library and the JVM together: fewer threads and less heap than they would take by
        # themselves, for machines of two cores.
        options = ["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]
        paths = f"{TARGET / 'classes'}:{TARGET / 'lib' / '*'}"
        command = [java, *options, "-cp", paths, "LeshanDevice", str(properties)]
        self.program = Program(f"leshan {endpoint}", command, folder)

    def start(self) -> None:
        """Start it and wait until it says that it is registered."""
        self.program.start()
        self.wait_registered()

    def wait_failed(self, what: str) -> str:
        """Wait until it says that something has failed, "register 4.03" or so; why."""
        line = self.program.wait_for(lambda said: said.startswith(f"FAILED {what}"), what, STARTS_WITHIN_S)
        return line.removeprefix(f"FAILED {what} ")

    def wait_bootstrapped(self) -> None:
        self._expect("BOOTSTRAPPED", STARTS_WITHIN_S)

    def wait_registered(self) -> str:
        line = self._expect("REGISTERED", STARTS_WITHIN_S)
        root, _, self.registration_id = line.removeprefix("REGISTERED /").partition("/")
        assert root == "rd", line
        return self.registration_id

    def temperature(self, instance: int, value: float) -> None:
        self.program.say(f"temperature {instance} {value}")

    def battery(self, percent: int) -> None:
        self.program.say(f"battery {percent}")

    def send(self, content_format: str, *paths: str) -> str:
        """Send the present values of these paths; the CoAP code of the answer, as "204"."""
        self.program.say(f"send {content_format} {' '.join(paths)}")
        return self._expect("SENT").removeprefix("SENT ")

    def update(self) -> None:
        """Update the registration and wait for the answer."""
        self.program.pass_over()
        self.program.say("update")
        self._expect("UPDATED")

    def create(self, object_id: int, instance_id: int) -> None:
        """Have the device make an instance by itself, which it tells by an Update."""
        self.program.say(f"create {object_id} {instance_id}")

    def delete(self, object_id: int, instance_id: int) -> None:
        """Have the device delete an instance by itself, which it tells by an Update."""
        self.program.say(f"delete {object_id} {instance_id}")

    def rebooted(self) -> None:
        """Wait until an Execute of Reboot (/3/0/4) has reached it."""
        self._expect("REBOOT")

    def package(self) -> tuple[int, str]:
        """Wait until a firmware package has come whole; its bytes and their SHA-256."""
        size, sha256 = self._expect("PACKAGE", PACKAGE_WITHIN_S).removeprefix("PACKAGE ").split(" ")
        return int(size), sha256

    def installs(self) -> None:
        """Wait until the Update of object 5 was executed."""
        self._expect("INSTALL")

    def stop(self) -> None:
        """SIGTERM: it deregisters before it ends, and says so."""
        self.program.stop(signal.SIGTERM)
        assert "DEREGISTERED" in self.program.log, self.program.tail()

    def kill(self) -> None:
        """As a device loses power: it does not deregister."""
        self.program.kill()

    def complaints(self) -> list[str]:
        return [line for line in self.program.log if line.startswith("FAILED")]

    def _expect(self, word: str, within_s: float = 15.0) -> str:
        line = self.program.wait_for(lambda said: said.split(" ")[0] in {word, "FAILED"}, word, within_s)
        assert not line.startswith("FAILED"), f"{line}\n{self.program.tail()}"
        return line


class StartLeshan(Protocol):
    """What the fixture `start_leshan` is: it starts a client and waits until that is registered."""

    def __call__(self, endpoint: str, account: Account) -> LeshanClient: ...
