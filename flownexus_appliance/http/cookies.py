"""The cookies a request brings, each read by itself.

`http.cookies`, and so aiohttp, gives up all of them for one whose name it does not like. Cookies know no
port, so another program on this machine could keep a browser from every page here by a single one.
"""

from aiohttp import web


def cookie(request: web.Request, name: str) -> str | None:
    """The value of a cookie, None where there is none; of several the first, which is of the nearest path
    (RFC 6265 5.4)."""
    for line in request.headers.getall("Cookie", ()):
        for pair in line.split(";"):
            found, equals, value = pair.partition("=")
            if equals and found.strip() == name:
                return value.strip()
    return None
