"""Packages on their way in: as they come, within bounds, whole or not at all."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web_runner import BaseRunner

from flownexus_appliance.access.roles import Role
from flownexus_appliance.db.package_files import MAX_PACKAGE as LARGEST
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http import errors, uploads
from flownexus_appliance.http.guard import BY
from flownexus_appliance.http.pages_forms import FORM
from flownexus_appliance.http.ports import PARTS, Parts
from flownexus_appliance.http.requests import STILL
from flownexus_appliance.http.routes import Handler, form
from flownexus_appliance.http.server import build_app
from flownexus_appliance.http.uploads import SLOTS, Slots, take_form

from .conftest import Client
from .firmware_box import MAX_PACKAGE, FakeFirmwareBox
from .people import BEARER, FakeAccess

DEADLINE_S = 20.0
BYTES = {"Content-Type": "application/octet-stream"}
ADDRESS = "/api/v1/firmware"


async def pieces(content: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body of unknown length."""
    for piece in content:
        yield piece


@asynccontextmanager
async def spoken(
    client: Client, head: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection over which this head of an upload was sent, and whatever comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    try:
        said = f"POST {ADDRESS}?version=1.5.0 HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer operator\r\n"
        writer.write(f"{said}Content-Type: application/octet-stream\r\n{head}\r\n".encode())
        await writer.drain()
        async with asyncio.timeout(DEADLINE_S):
            yield reader, writer
    finally:
        writer.close()


async def status(reader: asyncio.StreamReader) -> int:
    return int((await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1])


def ended(box: FakeFirmwareBox, dropped: int = 1) -> bool:
    return box.dropped == dropped and not box.rows and not box.uploads


# The body as it is


async def test_a_package_is_kept_as_it_came(client: Client, firmware: FakeFirmwareBox) -> None:
    content = bytes(range(256)) * 800
    async with client.post(f"{ADDRESS}?version=1.5.0", data=content, headers=BYTES) as response:
        assert response.status == 201
        assert (await response.json())["size"] == len(content)
    assert firmware.contents == {1: content}
    assert client.app is not None
    assert client.app[SLOTS].taken == 0


async def test_a_body_of_unknown_length_is_taken(client: Client, firmware: FakeFirmwareBox) -> None:
    body = pieces([b"one", b"two" * 10_000])
    async with client.post(f"{ADDRESS}?version=1.5.0", data=body, headers=BYTES) as response:
        assert response.status == 201
    assert firmware.contents == {1: b"one" + b"two" * 10_000}


async def test_a_package_that_says_it_is_too_large_is_not_even_asked_for(
    client: Client, firmware: FakeFirmwareBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: object) -> None:
        raise AssertionError("an upload was begun")

    monkeypatch.setattr(FakeFirmwareBox, "upload", never)
    head = f"Content-Length: {10 * 10**9}\r\nExpect: 100-continue\r\n"
    async with spoken(client, head) as (reader, _):
        assert await status(reader) == 413


async def test_the_largest_package_is_not_too_large(client: Client) -> None:
    async with spoken(client, f"Content-Length: {LARGEST}\r\nExpect: 100-continue\r\n") as (reader, _):
        assert await status(reader) == 100
    async with spoken(client, f"Content-Length: {LARGEST + 1}\r\nExpect: 100-continue\r\n") as (reader, _):
        assert await status(reader) == 413


async def test_who_waits_for_it_is_asked_to_go_on(client: Client, firmware: FakeFirmwareBox) -> None:
    async with spoken(client, "Content-Length: 8\r\nExpect: 100-Continue\r\n") as (reader, writer):
        assert await status(reader) == 100
        assert not firmware.rows
        writer.write(b"firmware")
        assert await status(reader) == 201
    assert firmware.contents == {1: b"firmware"}


async def test_who_may_not_is_not_asked_to_go_on(client: Client, access: FakeAccess) -> None:
    del access.programs["operator"]
    async with spoken(client, "Content-Length: 8\r\nExpect: 100-continue\r\n") as (reader, _):
        assert await status(reader) == 401


async def test_who_sends_without_an_end_is_stopped(client: Client, firmware: FakeFirmwareBox) -> None:
    async with spoken(client, "Transfer-Encoding: chunked\r\n") as (reader, writer):
        sent = 0
        while sent <= MAX_PACKAGE:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            sent += 0x10000
        await writer.drain()
        assert await status(reader) == 413
    assert ended(firmware)


class Served(TestServer):
    """Handlers go on when who asked is gone, as with the box itself."""

    async def _make_runner(self, **options: Any) -> BaseRunner:
        return await super()._make_runner(**{**options, "handler_cancellation": False, "access_log": None})


@pytest.mark.parametrize("head", ["Content-Length: 800\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_an_upload_that_breaks_off_leaves_nothing(
    parts: Parts,
    firmware: FakeFirmwareBox,
    access: FakeAccess,
    monkeypatch: pytest.MonkeyPatch,
    head: str,
) -> None:
    noted = asyncio.Event()
    outcomes = []

    def note(_: FakeAccess, *what: str) -> None:
        outcomes.append(what[4])
        noted.set()

    monkeypatch.setattr(FakeAccess, "note", note)
    app = build_app(parts)
    async with TestClient(Served(app)) as client:
        async with spoken(client, head) as (_, writer):
            writer.write(b"64\r\n" + b"x" * 100 + b"\r\n")
            await firmware.begun.wait()
        async with asyncio.timeout(DEADLINE_S):
            await noted.wait()
    assert ended(firmware)
    assert outcomes == ["upload_broken"]
    assert app[SLOTS].taken == 0


async def test_an_upload_that_is_cancelled_leaves_nothing(client: Client, firmware: FakeFirmwareBox) -> None:
    async with spoken(client, "Content-Length: 800\r\n") as (_, writer):
        writer.write(b"x" * 100)
        await firmware.begun.wait()
    async with asyncio.timeout(DEADLINE_S):
        await firmware.broken.wait()
    assert ended(firmware)


async def test_chunks_that_are_none_are_refused(client: Client, firmware: FakeFirmwareBox) -> None:
    async with spoken(client, "Transfer-Encoding: chunked\r\n") as (reader, writer):
        writer.write(b"4\r\nfour\r\nno chunk\r\n")
        assert await status(reader) == 400
    assert not firmware.rows


async def test_who_falls_silent_is_not_waited_for(
    client: Client, firmware: FakeFirmwareBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PATIENCE_S", 0.05)
    async with spoken(client, "Content-Length: 800\r\n") as (reader, writer):
        writer.write(b"x")
        assert await status(reader) == 408
    assert ended(firmware)


async def test_who_trickles_is_not_waited_for_either(
    client: Client, firmware: FakeFirmwareBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LONGEST_S", 0.05)
    async with spoken(client, "Content-Length: 800\r\n") as (reader, writer):
        writer.write(b"x")
        assert await status(reader) == 408
    assert ended(firmware)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-Type": "application/json"}, "media_type_unsupported"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, "media_type_unsupported"),
        ({**BYTES, "Content-Encoding": "gzip"}, "media_type_unsupported"),
        ({**BYTES, "Content-Encoding": "Deflate"}, "media_type_unsupported"),
        ({**BYTES, "Content-Encoding": "identity"}, ""),
    ],
)
async def test_only_bytes_as_they_are_are_taken(
    client: Client, firmware: FakeFirmwareBox, headers: dict[str, str], code: str
) -> None:
    async with client.post(f"{ADDRESS}?version=1", data=b"firmware", headers=headers) as response:
        assert response.status == (415 if code else 201)
        assert (await response.json()).get("error", "") == code
    assert len(firmware.rows) == (not code)


async def test_an_empty_body_is_refused(client: Client, firmware: FakeFirmwareBox) -> None:
    async with client.post(f"{ADDRESS}?version=1", data=b"", headers=BYTES) as response:
        assert (response.status, (await response.json())["error"]) == (400, "package_empty")
    assert not firmware.rows


async def test_only_so_many_come_at_once(client: Client, firmware: FakeFirmwareBox) -> None:
    assert client.app is not None
    client.app[SLOTS].taken = uploads.MAX_UPLOADS - 1
    async with spoken(client, "Content-Length: 8\r\nExpect: 100-continue\r\n") as (reader, writer):
        assert await status(reader) == 100
        async with client.post(f"{ADDRESS}?version=2", data=b"other", headers=BYTES) as response:
            assert (response.status, (await response.json())["error"]) == (503, "upload_busy")
        writer.write(b"firmware")
        assert await status(reader) == 201
    async with client.post(f"{ADDRESS}?version=2", data=b"other", headers=BYTES) as response:
        assert response.status == 201
    assert firmware.contents == {1: b"firmware", 2: b"other"}


async def test_who_may_no_more_when_it_is_there_has_sent_it_in_vain(
    client: Client, firmware: FakeFirmwareBox, access: FakeAccess
) -> None:
    async with spoken(client, "Content-Length: 8\r\nExpect: 100-continue\r\n") as (reader, writer):
        assert await status(reader) == 100
        del access.programs["operator"]
        writer.write(b"firmware")
        assert await status(reader) == 401
    assert ended(firmware)


# The form of a page


def serving(parts: Parts, handler: Handler) -> web.Application:
    """An application that only takes forms."""

    @web.middleware
    async def somebody(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[BY] = "otto"
        return await handler(request)

    app = web.Application(middlewares=[errors.answer_errors, somebody])
    app[PARTS], app[SLOTS] = parts, Slots()
    app.add_routes([form("/packages", handler, Role.OPERATOR, streamed=True).definition()])
    return app


async def kept(request: web.Request) -> web.Response:
    """What became of a form, and what was read of it."""
    try:
        return web.json_response({"kept": (await take_form(request)).id, **request[FORM].fields})
    except UsageError as error:
        read = request[FORM].fields if FORM in request else {}
        return web.json_response({"error": error.code, **read}, status=errors.status_of(error))


@pytest.fixture
async def page(parts: Parts) -> AsyncIterator[Client]:
    async with TestClient(TestServer(serving(parts, kept)), headers=BEARER[Role.OPERATOR]) as client:
        yield client


def filled(content: bytes | None = b"firmware", **fields: str) -> FormData:
    sent = FormData(default_to_multipart=True, quote_fields=False)
    for name, text in fields.items():
        sent.add_field(name, text)
    if content is not None:
        sent.add_field("package", content, filename="app update.bin", content_type="application/octet-stream")
    return sent


async def test_a_form_brings_the_package_and_what_is_said_of_it(
    page: Client, firmware: FakeFirmwareBox
) -> None:
    content = bytes(range(256)) * 500
    fields = {
        "version": " 1.5.0 ",
        "note": "Mends\r\nit",
        "model": "T",
        "tag": "field",
        "from_version": "1.4",
    }
    async with page.post("/packages", data=filled(content, **fields)) as response:
        assert await response.json() == {"kept": 1, **fields}
    one = firmware.rows[1]
    assert firmware.contents == {1: content}
    assert (one.version, one.file_name, one.added_by) == ("1.5.0", "app update.bin", "otto")
    assert (one.note, one.model, one.tag, one.from_version) == ("Mends\r\nit", "T", "field", "1.4")


async def test_fields_behind_the_file_count_too(page: Client, firmware: FakeFirmwareBox) -> None:
    sent = filled()
    sent.add_field("version", "1.5.0")
    async with page.post("/packages", data=sent) as response:
        assert response.status == 200
    assert firmware.rows[1].version == "1.5.0"


async def test_a_form_that_is_not_taken_still_has_its_fields(page: Client, firmware: FakeFirmwareBox) -> None:
    async with page.post("/packages", data=filled(b"", version="1.5.0", note="n")) as response:
        assert response.status == 400
        assert await response.json() == {"error": "package_empty", "version": "1.5.0", "note": "n"}
    assert ended(firmware)


async def test_a_form_without_a_file_has_an_empty_package(page: Client, firmware: FakeFirmwareBox) -> None:
    async with page.post("/packages", data=filled(None, version="1.5.0")) as response:
        assert (await response.json())["error"] == "package_empty"
    assert ended(firmware)


async def test_a_form_that_is_too_large_is_stopped(page: Client, firmware: FakeFirmwareBox) -> None:
    async with page.post("/packages", data=filled(b"x" * (MAX_PACKAGE + 1))) as response:
        assert (response.status, (await response.json())["error"]) == (413, "package_too_large")
    assert ended(firmware)


async def test_what_stands_around_the_file_counts(
    page: Client, firmware: FakeFirmwareBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_FORM", 10_000)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = pieces([b"preamble\r\n" * 100] * 20)
    async with page.post("/packages", data=body, headers=headers) as response:
        assert (response.status, (await response.json())["error"]) == (413, "package_too_large")
    head = {**headers, "Content-Length": "10001"}
    async with page.post("/packages", data=b"x" * 10_001, headers=head) as response:
        assert (response.status, (await response.json())["error"]) == (413, "package_too_large")


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/x-www-form-urlencoded", b"version=1", "media_type_unsupported"),
        ("multipart/form-data", b"--x--", "body_invalid"),
        ("multipart/form-data; boundary=x", b"version=1", "body_invalid"),
        (
            'multipart/form-data; boundary="x"',
            b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\n\xff\r\n--x--',
            "body_invalid",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\n' + b"n" * 9000 + b"\r\n--x--",
            "body_invalid",
        ),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n1\r\n'
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n2\r\n--x--',
            "body_invalid",
        ),
    ],
)
async def test_what_is_no_form_is_refused(
    page: Client, firmware: FakeFirmwareBox, content_type: str, body: bytes, code: str
) -> None:
    async with page.post("/packages", data=body, headers={"Content-Type": content_type}) as response:
        assert (await response.json())["error"] == code
    assert not firmware.rows
    assert not firmware.uploads


async def test_who_may_no_more_when_the_form_is_there_has_sent_it_in_vain(
    parts: Parts, firmware: FakeFirmwareBox
) -> None:
    async def refused(request: web.Request) -> web.Response:
        def shown_out() -> None:
            assert firmware.uploads[0].received == 8
            raise UsageError("sign_in_needed", "no more", "sign in")

        request[STILL] = shown_out
        return await kept(request)

    async with (
        TestClient(TestServer(serving(parts, refused))) as client,
        client.post("/packages", data=filled(version="1")) as response,
    ):
        assert (await response.json())["error"] == "sign_in_needed"
    assert ended(firmware)
