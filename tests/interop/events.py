"""Server-sent events (HTML Living Standard 9.2) as a script reads them: the box's own, or Leshan's."""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from .daemon import API_WITHIN_S, NO_HEADERS
from .program import until


class Events:
    """A stream that a thread reads; used as a context. All events since it was opened are kept."""

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        self._headers = {"Accept": "text/event-stream", **headers}
        parts = urlsplit(url)
        self._path = f"{parts.path}?{parts.query}"
        self._connection = (
            http.client.HTTPConnection(parts.netloc, timeout=API_WITHIN_S)
            if tls is None
            else http.client.HTTPSConnection(parts.netloc, timeout=API_WITHIN_S, context=tls)
        )
        self._seen: list[tuple[str, Any]] = []
        self._thread = threading.Thread(target=self._read, name=f"events {url}")

    def __enter__(self) -> "Events":
        self._connection.request("GET", self._path, headers=self._headers)
        # A reply without a length takes the socket from its connection.
        self._socket = self._connection.sock
        self._reply = self._connection.getresponse()
        assert self._reply.status == 200, self._reply.status
        assert self._reply.headers.get_content_type() == "text/event-stream"
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._reply.close()
        self._connection.close()

    def all(self, name: str) -> list[Any]:
        """The data of all events of a name, oldest first."""
        return [data for named, data in list(self._seen) if named == name]

    def wait_for(self, name: str, wanted: Callable[[Any], object], what: str = "") -> Any:
        """Wait for an event of a name, its data `wanted`; the first one's data."""
        until(lambda: any(map(wanted, self.all(name))), f"event {name} {what} in {self._seen[-5:]}")
        return next(filter(wanted, self.all(name)))

    def _read(self) -> None:
        name, data = "", ""
        try:
            for line in self._reply:
                field, _, value = line.decode().rstrip("\r\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    data += value
                elif not field and data:
                    self._seen.append((name, json.loads(data)))
                    name, data = "", ""
        except (OSError, http.client.HTTPException):
            return  # it was closed
