"""libcoap's coap-client: one request, and the reply as it says it saw it.

`coap-client -v 6` prints each message it sends and receives as one line:

    v:1 t:ACK c:2.01 i:6444 {01} [ Location-Path:rd, Location-Path:abcd1234 ]

It takes a pre-shared key as text only; where a build turns hexadecimal into bytes, the text begins with 0x.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .daemon import Credential, Psk

# Debian names the builds by their TLS library; any of them speaks plain CoAP.
SECURE = ("coap-client-openssl", "coap-client-gnutls")
NAMES = ("coap-client-notls", *SECURE, "coap-client")
ANSWER_WITHIN_S = 10
LINK_FORMAT = 40
# A key that is text: 128 bits of it.
KEY = b"sixteen letters!".hex()
_MESSAGE = re.compile(
    r"v:1 t:(?P<type>CON|NON|ACK|RST) c:(?P<code>[0-9]\.[0-9]{2}|[A-Z]+) i:(?P<mid>[0-9a-f]{4})"
    r" \{(?P<token>[0-9a-f]*)\} \[ (?P<options>.*?) ?\]"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """A response: its message type, its code as "2.01", and its options as (name, value), in order."""

    type: str
    code: str
    options: Sequence[tuple[str, str]]


def find(names: Sequence[str] = NAMES) -> str:
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    raise AssertionError(f"no {names[0]} here; hint: tests/interop/run installs it (Debian: libcoap3-bin)")


class CoapClient:
    """Sends requests to one server, each from a process of its own, payloads by way of files.

    With a credential it speaks DTLS by the build `name`, one handshake a request.
    """

    def __init__(
        self, server: str, folder: Path, name: str | None = None, credential: Credential | None = None
    ) -> None:
        self.server = server
        self.folder = folder
        self._command = [find() if name is None else find([name]), *_shown(credential)]

    def request(
        self,
        method: str,
        path: str,
        query: Sequence[str] = (),
        payload: bytes = b"",
        content_format: int | None = None,
        port: int | None = None,
        block_size: int | None = None,
        confirmable: bool = True,
        options: Sequence[str] = (),
        output: Path | None = None,
    ) -> Reply:
        """Send one request and return its response; fails, with what it said, when none comes.

        `port` is the local one: requests of one device that must share an address name the same.
        `options` are further ones as "NUMBER,TEXT". What comes back, of all blocks, is written to `output`.
        """
        words = [*self._command, "-v", "6", "-B", str(ANSWER_WITHIN_S), "-m", method]
        if payload:
            body = self.folder / "payload"
            body.write_bytes(payload)
            words += ["-f", str(body)]
        if content_format is not None:
            words += ["-t", str(content_format)]
        if port is not None:
            words += ["-p", str(port)]
        if block_size is not None:
            words += ["-b", str(block_size)]
        if not confirmable:
            words.append("-N")
        if output is not None:
            words += ["-o", str(output)]
        for option in options:
            words += ["-O", option]
        asked = "&".join(quote(item, safe="=.") for item in query)
        words.append(f"{self.server}{path}{'?' if asked else ''}{asked}")
        done = subprocess.run(
            words,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=ANSWER_WITHIN_S * 2,
            check=False,
        )
        return _response(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"))


def register(
    client: CoapClient, endpoint: str, links: bytes = b"</1/0>,</3/0>", block_size: int | None = None
) -> str:
    """Register; the registration's id."""
    query = ("lwm2m=1.1", f"ep={endpoint}", "lt=300", "b=U")
    reply = client.request("post", "/rd", query, links, LINK_FORMAT, block_size=block_size)
    assert reply.code == "2.01"
    (first, root), (second, registration_id) = reply.options[:2]
    assert (first, root, second) == ("Location-Path", "rd", "Location-Path")
    return registration_id


def _shown(credential: Credential | None) -> list[str]:
    if credential is None:
        return []
    if isinstance(credential, Psk):
        return ["-u", credential.identity, "-k", bytes.fromhex(credential.key).decode("ascii")]
    files = (credential.certificate, credential.key, credential.roots)
    return [
        word for option, file in zip(("-c", "-j", "-R"), files, strict=True) for word in (option, str(file))
    ]


def _response(output: str) -> Reply:
    """The response to the first request of the output; the server's own requests have other tokens."""
    request, *others = _MESSAGE.finditer(output)
    for message in others:
        if message["token"] == request["token"] and message["code"][0] in "245":
            options = [option.partition(":") for option in message["options"].split(", ") if option]
            return Reply(message["type"], message["code"], [(name, value) for name, _, value in options])
    raise AssertionError(f"no response within {ANSWER_WITHIN_S} s\n{output}")
