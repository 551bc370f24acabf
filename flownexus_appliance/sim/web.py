"""A simulated device fetches a package by HTTP: with Range, and from where it was after a broken connection.

RFC 9110 14 (Range), 13.1.5 (If-Range). Waits for the network, so it runs in a thread; a fleet has few.
"""

import contextlib
import http.client
import math
import socket
import ssl
import threading
from functools import lru_cache
from typing import Final

from ..errors import UsageError, clean
from ..lwm2m.firmware import Protocol, UpdateResult
from .download import Place
from .firmware_options import FirmwareOptions
from .package import Intake

TIMEOUT_S: Final = 10.0  # of the network, for each step
_PIECE: Final = 16 * 1024
# These may pass: Request Timeout, Too Many Requests, and all that is the server's fault.
_PASSING: Final = frozenset({408, 429})


class WebDownload:
    """Fetches a package: `run` in a thread, `abort` from any. Meanwhile the intake is that thread's."""

    __slots__ = ("_connection", "_etag", "_intake", "_options", "_place", "_socket", "_stop", "deadline")

    def __init__(self, options: FirmwareOptions, place: Place, intake: Intake) -> None:
        self._options = options
        self._place = place
        self._intake = intake
        self._etag = ""
        self._stop = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self.deadline = math.inf

    def handle_timer(self, now: float) -> None:
        """There is nothing to wait for: the thread says when it is done."""

    def abort(self) -> None:
        """Let go of the connection; `run` then comes to its end."""
        self._stop.set()
        connected = self._socket
        if connected is not None:
            with contextlib.suppress(OSError):  # it is closed already
                connected.shutdown(socket.SHUT_RDWR)

    def run(self) -> UpdateResult | None:
        """Fetch all of it; None when it is there and can be installed."""
        for attempt in range(self._options.https_tries + 1):
            if attempt and self._stop.wait(self._options.https_wait_s):
                break
            try:
                return self._fetch()
            except ssl.SSLCertVerificationError:
                break
            except (OSError, http.client.HTTPException):
                continue  # from where it was
            finally:
                if self._connection is not None:
                    self._connection.close()
        return UpdateResult.CONNECTION_LOST

    def _fetch(self) -> UpdateResult | None:
        """One connection; raises OSError and HTTPException when it breaks."""
        connection = self._connection = self._connection_to(self._place)
        connection.connect()
        # The connection lets go of it once it has seen that the server will close it.
        self._socket = connection.sock
        if self._stop.is_set():  # `abort` may have come too early to find the socket
            return UpdateResult.CONNECTION_LOST
        intake, headers = self._intake, {}
        if intake.received:
            headers["Range"] = f"bytes={intake.received}-"
            if self._etag:
                headers["If-Range"] = self._etag
        connection.request("GET", self._place.target, headers=headers)
        response = connection.getresponse()
        if response.status >= 500 or response.status in _PASSING:
            raise http.client.HTTPException(f"status {response.status}")
        if response.status not in (200, 206):
            return UpdateResult.INVALID_URI
        if response.status == 200 or not self._goes_on(response):
            intake.restart()
        self._etag = response.headers.get("ETag", "")
        if response.status == 206 and not intake.received:
            raise http.client.HTTPException("not the part that was asked for")
        left = response.headers.get("Content-Length", "")
        if left.isdecimal():
            intake.expect(intake.received + int(left))
        return self._read(response)

    def _read(self, response: http.client.HTTPResponse) -> UpdateResult | None:
        intake = self._intake
        while intake.failure is None and not intake.stalled:
            piece = response.read(_PIECE)
            if not piece:
                if intake.size is not None and intake.received < intake.size:
                    raise http.client.HTTPException("the connection broke")
                return intake.complete()
            intake.take(piece)
        return intake.failure

    def _goes_on(self, response: http.client.HTTPResponse) -> bool:
        """Whether a part of the package begins where the last one ended."""
        return response.headers.get("Content-Range", "").startswith(f"bytes {self._intake.received}-")

    def _connection_to(self, place: Place) -> http.client.HTTPConnection:
        if place.protocol is Protocol.HTTP:
            return http.client.HTTPConnection(place.host, place.port, timeout=TIMEOUT_S)
        trust = trusted(self._options.https_ca)
        return http.client.HTTPSConnection(place.host, place.port, timeout=TIMEOUT_S, context=trust)


@lru_cache(maxsize=8)
def trusted(ca: str) -> ssl.SSLContext:
    """Whom to believe: who the certificates in a file vouch for, "" anybody.

    Raises UsageError("credential_unusable") for a file without any.
    """
    if not ca:
        # A simulated device is no secret, and the box's own certificate is nobody's but its own.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise UsageError(
            "credential_unusable",
            f"{clean(ca)}: {error.strerror or 'no certificates'}",
            "give certificates in PEM",
        ) from None
