"""Leshan's API as its scripts use it: plain HTTP, paths below `clients`, JSON nodes, `timeout` in seconds."""

import json
import urllib.parse
from typing import Any

from .daemon import LOOPBACK, Daemon, Reply, fetch

JSON, TEXT = "application/json", "text/plain"
CHANGED = {"status": "CHANGED(204)", "valid": True, "success": True, "failure": False}
# Long enough for a busy machine; what is to time out says so.
TIMEOUT_S = 30
Node = dict[str, Any]


class LeshanApi:
    """The API of a daemon, on the port that it has as Leshan's server has one."""

    def __init__(self, daemon: Daemon) -> None:
        self.base = f"http://{LOOPBACK}:{daemon.leshan_port}/api"

    def ask(self, method: str, path: str, body: object = None, media_type: str = JSON, **query: Any) -> Reply:
        """Ask for a path below the base; a query parameter of None is a bare name, text goes as it is."""
        asked = "&".join(
            name if value is None else f"{name}={urllib.parse.quote(str(value), safe='/,')}"
            for name, value in query.items()
        )
        text = body if isinstance(body, str) else json.dumps(body)
        data = None if body is None else text.encode()
        return fetch(method, f"{self.base}{path}?{asked}", data, media_type)

    def client(
        self, method: str, path: str, body: object = None, media_type: str = JSON, **query: Any
    ) -> Reply:
        """The same below `clients`, with a timeout of its own or the usual one."""
        return self.ask(method, f"/clients/{path}", body, media_type, **{"timeout": TIMEOUT_S, **query})

    def answer(
        self, method: str, path: str, body: object = None, media_type: str = JSON, **query: Any
    ) -> Node:
        """What the device answered, whatever its code: with HTTP that is 200."""
        reply = self.client(method, path, body, media_type, **query)
        assert reply.status == 200, reply
        answer: Node = reply.json
        return answer

    def read(self, path: str, **query: Any) -> Any:
        """The node, or the nodes, that a Read brought."""
        answer = self.answer("GET", path, **query)
        content = answer.pop("content")
        assert answer == {"status": "CONTENT(205)", "valid": True, "success": True, "failure": False}
        return content

    def links(self, path: str) -> dict[str, Node]:
        """The attributes that a Discover brought, by path."""
        answer = self.answer("GET", f"{path}/discover")
        assert answer["status"] == "CONTENT(205)", answer
        return {link["url"]: link["attributes"] for link in answer["objectLinks"]}


def single(number: int, data_type: str, value: object) -> Node:
    """A node of a resource with one value."""
    return {"kind": "singleResource", "id": number, "type": data_type, "value": value}


def multiple(number: int, data_type: str, values: Node) -> Node:
    """A node of a resource with several."""
    return {"kind": "multiResource", "id": number, "type": data_type, "values": values}


def item(number: int, data_type: str, value: object) -> Node:
    """A node of a resource instance."""
    return {"kind": "resourceInstance", "id": number, "type": data_type, "value": value}


def instance(number: int | None, *resources: Node) -> Node:
    """A node of an object instance; without a number the device chooses it."""
    found: Node = {"kind": "instance", "resources": list(resources)}
    return found if number is None else {**found, "id": number}
