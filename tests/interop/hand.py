"""OpenSSL's and GnuTLS's own client programs: DTLS theirs, CoAP written out by hand over their pipes.

`openssl s_client` and `gnutls-cli` send what they read in one go as one record and write out what records
bring, one behind the other: a reply is found by its first bytes, which no two messages share.
"""

import itertools
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.peer import (
    ACK,
    CON,
    CONTENT_FORMAT,
    CREATED,
    LINKS,
    LOCATION_PATH,
    POST,
    URI_PATH,
    URI_QUERY,
    Frame,
    uint,
)

from .daemon import LOOPBACK, Credential, Daemon, Psk

_mids = itertools.count(0x5A01)
ANSWER_WITHIN_S = 5.0
STOP_WITHIN_S = 10.0


class ByHand:
    """One run of such a program, one DTLS session."""

    def __init__(self, command: Sequence[str | Path], words: Path, log: Path) -> None:
        """`words` gets its standard error; in `log` stands what it tells of the handshake."""
        self.command = [str(word) for word in command]
        self._words = words
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._said = b""

    def start(self) -> None:
        with self._words.open("wb") as words:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words
            )

    @property
    def words(self) -> str:
        """What it has said so far of the handshake and of what went wrong."""
        files = {self._words, self._log}
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())

    def send(self, frame: Frame) -> None:
        stdin = self._running().stdin
        assert stdin is not None
        stdin.write(frame.encode())
        stdin.flush()

    def ask(self, frame: Frame, code: int) -> None:
        """Send a confirmable request and wait for its piggybacked response."""
        self.send(frame)
        self.wait_for(Frame(ACK, code, frame.mid, frame.token))

    def wait_for(self, reply: Frame) -> None:
        """Wait for a message that begins as `reply`: its type, code, message id, token and first options."""
        wanted = reply.encode()
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while wanted not in self._said:
            more = self._read(deadline - time.monotonic())
            assert more, f"no {reply} but {self._said.hex(' ')}\n{self.words}"
            self._said += more

    def heard(self, reply: Frame) -> bool:
        """Whether such a message has come already."""
        while more := self._read(0):
            self._said += more
        return reply.encode() in self._said

    def stop(self) -> None:
        """End of input: it closes the session, and ends without a complaint."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(STOP_WITHIN_S) == 0, self.words

    def wait_refused(self) -> str:
        """Wait until it gives up; its words."""
        code = self._running().wait(ANSWER_WITHIN_S)
        assert code != 0, self.words
        return self.words

    def end(self) -> None:
        """Kill it if it still runs."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait(STOP_WITHIN_S)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def _read(self, within_s: float) -> bytes:
        """What it writes next; nothing at its end or when the time is over."""
        stdout = self._running().stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], max(0.0, within_s))
        return os.read(stdout.fileno(), 65536) if ready else b""

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, f"{self.command[0]} does not run"
        return self._process


def request(code: int, *path: str, query: tuple[str, ...] = (), payload: bytes = b"") -> Frame:
    """A confirmable request with a message id and a token of its own; a payload is links."""
    mid = next(_mids)
    options = [(URI_PATH, part.encode()) for part in path] + [(URI_QUERY, part.encode()) for part in query]
    if payload:
        options.append((CONTENT_FORMAT, uint(LINKS)))
    return Frame(CON, code, mid, b"hand" + uint(mid), tuple(options), payload)


def register(client: ByHand, daemon: Daemon, endpoint: str) -> str:
    """Register by hand; the registration's id, which the response names as the store does."""
    asked = request(POST, "rd", query=("lwm2m=1.1", f"ep={endpoint}", "lt=300"), payload=b"</1/0>,</3/0>")
    client.ask(asked, CREATED)
    stored = daemon.store.registration(endpoint)
    assert stored is not None
    registration_id: str = stored["id"]
    location = ((LOCATION_PATH, b"rd"), (LOCATION_PATH, registration_id.encode()))
    client.wait_for(Frame(ACK, CREATED, asked.mid, asked.token, location))
    return registration_id


@contextmanager
def openssl(
    port: int, credential: Credential | None, suite: str, folder: Path, more: Sequence[str] = ()
) -> Iterator[ByHand]:
    """`openssl s_client` to a port of the loopback, with one suite by OpenSSL's name, and more options."""
    # CCM-8 is below what Debian's default security level allows.
    command: list[str | Path] = [_find("openssl"), "s_client", "-dtls1_2", "-connect", f"{LOOPBACK}:{port}"]
    command += ["-brief", "-nocommands", "-cipher", f"{suite}:@SECLEVEL=0", *more]
    if isinstance(credential, Psk):
        command += ["-psk_identity", credential.identity, "-psk", credential.key]
    elif credential is not None:
        command += ["-cert", credential.certificate, "-key", credential.key, "-CAfile", credential.roots]
        command += ["-verify_return_error", "-verify_ip", LOOPBACK]
    with _run(ByHand(command, folder / "words", folder / "words")) as client:
        yield client


@contextmanager
def gnutls(port: int, credential: Credential | None, suite: str, folder: Path) -> Iterator[ByHand]:
    """`gnutls-cli --udp` to a port of the loopback, with one suite, "PSK:AES-128-CCM" in GnuTLS's names."""
    allowed = "+VERS-DTLS1.2:+AEAD:+SHA256:+COMP-NULL:+CTYPE-X509:+GROUP-SECP256R1:+SIGN-ECDSA-SHA256"
    chosen = ":".join(f"+{part}" for part in suite.split(":"))
    command: list[str | Path] = [_find("gnutls-cli"), "--udp", "--port", str(port)]
    command += ["--priority", f"NONE:{allowed}:{chosen}", "--logfile", folder / "log"]
    if isinstance(credential, Psk):
        command += ["--pskusername", credential.identity, "--pskkey", credential.key]
    elif credential is not None:
        command += ["--x509certfile", credential.certificate, "--x509keyfile", credential.key]
        command += ["--x509cafile", credential.roots]
    with _run(ByHand([*command, LOOPBACK], folder / "words", folder / "log")) as client:
        yield client


@contextmanager
def _run(client: ByHand) -> Iterator[ByHand]:
    try:
        client.start()
        yield client
    finally:
        client.end()


def _find(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, f"no {name} here; hint: tests/interop/run installs it"
    return found
