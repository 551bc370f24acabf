"""Samples over REST: page by page, and as files: whole, safe in a spreadsheet, and never in memory."""

import asyncio
import csv
import io
import json
import sqlite3
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path as FilePath
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from aiohttp.web import Request, StreamResponse
from yarl import URL

from flownexus_appliance.db.history import PIECE, Sample
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.http import api_history
from flownexus_appliance.http.api_history import COLUMNS, file_name, iso_time, text_cell
from flownexus_appliance.http.ports import Parts
from flownexus_appliance.lwm2m.values import DataType, Record

from .asking import ask, of_endpoint
from .conftest import Client
from .house import HOUR_MS, NOW_MS, QUIET, SENSOR, STRANGE, fill, record

MINUTE_MS = 60_000
HISTORY = "/history/3303/0/5700"
TEMPERATURES = of_endpoint(SENSOR, "/export?path=/3303/0/5700")
FIRST_MS = NOW_MS - 1439 * MINUTE_MS


async def fetch(client: Client, endpoint: str, query: str = "") -> tuple[dict[str, str], str]:
    """An export: its headers and its text."""
    url = URL(f"/api/v1{of_endpoint(endpoint, f'/export{query}')}", encoded=True)
    async with client.get(url) as response:
        assert response.status == 200, await response.text()
        return dict(response.headers), (await response.read()).decode()


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


# History


async def test_samples_come_oldest_first(client: Client) -> None:
    page = await ask(client, "GET", of_endpoint(SENSOR, f"{HISTORY}?limit=3"))
    assert page == {
        "items": [{"time_ms": FIRST_MS + n * MINUTE_MS, "value": 20.0 + n / 2} for n in range(3)],
        "next": FIRST_MS + 2 * MINUTE_MS,
    }
    newest = await ask(client, "GET", of_endpoint(SENSOR, f"{HISTORY}?limit=2&order=desc"))
    assert [item["time_ms"] for item in newest["items"]] == [NOW_MS, NOW_MS - MINUTE_MS]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_cursor_leads_through_all_samples_once(client: Client, order: str) -> None:
    seen: list[int] = []
    query = ""
    for _ in range(4):
        page = await ask(client, "GET", of_endpoint(SENSOR, f"{HISTORY}?limit=480&order={order}{query}"))
        seen += [item["time_ms"] for item in page["items"]]
        query = f"&after={page['next']}"
        if page["next"] is None:
            break
    expected = [FIRST_MS + n * MINUTE_MS for n in range(1440)]
    assert seen == (expected if order == "asc" else expected[::-1])
    assert page["next"] is None


async def test_a_range_holds_its_beginning_and_not_its_end(client: Client) -> None:
    query = f"?from_ms={NOW_MS - 2 * MINUTE_MS}&to_ms={NOW_MS}"
    for order, times in (("asc", [-2, -1]), ("desc", [-1, -2])):
        page = await ask(client, "GET", of_endpoint(SENSOR, f"{HISTORY}{query}&order={order}"))
        assert [item["time_ms"] for item in page["items"]] == [NOW_MS + n * MINUTE_MS for n in times]
        assert page["next"] is None
    page = await ask(client, "GET", of_endpoint(SENSOR, f"{HISTORY}{query}&after={NOW_MS - 2 * MINUTE_MS}"))
    assert [item["time_ms"] for item in page["items"]] == [NOW_MS - MINUTE_MS]
    page = await ask(client, "GET", of_endpoint(SENSOR, f"{HISTORY}?from_ms={NOW_MS + 1}"))
    assert page == {"items": [], "next": None}


async def test_values_of_all_types_are_as_json_has_them(client: Client) -> None:
    for path, value in (
        ("3/0/0", "Nordic <Semi>"),
        ("3342/0/5500", True),
        ("32769/0/7", "01ff"),
        ("3/0/11/0", 0),
    ):
        page = await ask(client, "GET", of_endpoint(SENSOR, f"/history/{path}"))
        assert [item["value"] for item in page["items"]] == [value]
        assert type(page["items"][0]["value"]) is type(value)


@pytest.mark.parametrize(
    ("endpoint", "rest", "status", "code"),
    [
        ("nobody", HISTORY, 404, "endpoint_unknown"),
        (QUIET, HISTORY, 404, "series_unknown"),
        (SENSOR, "/history/3303/9/5700", 404, "series_unknown"),
        (SENSOR, "/history/3303", 400, "path_invalid"),
        (SENSOR, "/history/x", 400, "path_invalid"),
        (SENSOR, f"{HISTORY}?limit=0", 400, "query_invalid"),
        (SENSOR, f"{HISTORY}?limit=10001", 400, "query_invalid"),
        (SENSOR, f"{HISTORY}?order=up", 400, "query_invalid"),
        (SENSOR, f"{HISTORY}?after=x", 400, "query_invalid"),
        (SENSOR, f"{HISTORY}?from_ms=-1", 400, "query_invalid"),
        (SENSOR, f"{HISTORY}?from_ms=5&to_ms=5", 400, "range_invalid"),
        ("nobody", "/export", 404, "endpoint_unknown"),
        (SENSOR, "/export?path=/9", 404, "series_unknown"),
        (SENSOR, "/export?path=/3303&path=/9/9/9", 404, "series_unknown"),
        (SENSOR, "/export?path=/a", 400, "path_invalid"),
        (SENSOR, "/export?format=xlsx", 400, "query_invalid"),
        (SENSOR, "/export?from_ms=9&to_ms=5", 400, "range_invalid"),
        (SENSOR, f"/export?{'&'.join(['path=/3'] * 65)}", 400, "query_invalid"),
    ],
)
async def test_bad_questions_are_told_what_is_wrong(
    client: Client, endpoint: str, rest: str, status: int, code: str
) -> None:
    answer = await ask(client, "GET", of_endpoint(endpoint, rest), status=status)
    assert answer["error"] == code
    assert answer["hint"]


# Export


async def test_a_csv_has_every_sample(client: Client) -> None:
    headers, text = await fetch(client, SENSOR)
    assert headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert headers["Content-Disposition"] == 'attachment; filename="flownexus-urn_imei_352656100123456.csv"'
    assert headers["Cache-Control"] == "no-store"
    assert text.endswith("\r\n")
    header, *rows = rows_of(text)
    assert tuple(header) == COLUMNS
    paths = list(dict.fromkeys(row[1] for row in rows))
    assert paths == sorted(paths, key=lambda path: [int(part) for part in path.split("/")[1:]])
    temperatures = [row for row in rows if row[1] == "/3303/0/5700"]
    assert len(temperatures) == 1440 > PIECE
    assert [int(row[4]) for row in temperatures] == [FIRST_MS + n * MINUTE_MS for n in range(1440)]
    assert temperatures[-1] == [
        SENSOR,
        "/3303/0/5700",
        "Sensor Value",
        "Cel",
        str(NOW_MS),
        "2026-11-18T11:06:40.000Z",
        "29.5",
    ]
    values = {row[1]: row[6] for row in rows}
    assert values["/3/0/0"] == "Nordic <Semi>"
    assert values["/3342/0/5500"] == "true"
    assert values["/32769/0/7"] == "01ff"
    assert len(rows) == 1440 + 9


async def test_ndjson_has_the_same(client: Client) -> None:
    headers, text = await fetch(client, SENSOR, "?format=ndjson")
    assert headers["Content-Type"] == "application/x-ndjson"
    assert headers["Content-Disposition"].endswith('.ndjson"')
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[-1] == {
        "endpoint": SENSOR,
        "path": "/32769/0/7",
        "name": "Resource 7",
        "units": "",
        "time_ms": NOW_MS - 30_000,
        "time": "2026-11-18T11:06:10.000Z",
        "value": "01ff",
    }
    found = {line["path"]: line["value"] for line in lines}
    assert found["/3342/0/5500"] is True
    assert found["/3/0/9"] == 87
    _, rows = await fetch(client, SENSOR)
    assert [(line["path"], str(line["time_ms"])) for line in lines] == [
        (row[1], row[4]) for row in rows_of(rows)[1:]
    ]


async def test_an_export_is_of_what_is_asked_for(client: Client) -> None:
    _, text = await fetch(client, SENSOR, "?path=/3342&path=3/0/9&path=/3/0/11")
    assert [row[1] for row in rows_of(text)[1:]] == ["/3/0/9", "/3/0/11/0", "/3342/0/5500"]
    query = f"?path=/3303/0/5700&from_ms={NOW_MS - HOUR_MS}&to_ms={NOW_MS}"
    _, text = await fetch(client, SENSOR, query)
    times = [int(row[4]) for row in rows_of(text)[1:]]
    assert times == [NOW_MS - HOUR_MS + n * MINUTE_MS for n in range(60)]
    assert (await fetch(client, QUIET))[1] == f"{','.join(COLUMNS)}\r\n"
    assert (await fetch(client, QUIET, "?format=ndjson"))[1] == ""
    _, text = await fetch(client, SENSOR, "?path=/")
    assert len(rows_of(text)) == 1 + 1440 + 9


async def test_a_head_tells_the_name_alone(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    exported: list[object] = []
    export = Reader.export

    def noting(self: Reader, *args: Any) -> AsyncGenerator[tuple[str, list[Sample]], None]:
        exported.append(args)
        return export(self, *args)

    monkeypatch.setattr(Reader, "export", noting)
    url = URL(f"/api/v1{of_endpoint(STRANGE, '/export')}", encoded=True)
    async with client.head(url) as response:
        assert response.status == 200
        assert response.headers["Content-Disposition"].startswith('attachment; filename="flownexus-kitchen_')
        assert await response.read() == b""
    assert not exported


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("", ""),
        ("1 + 1 = 2", "1 + 1 = 2"),
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+01", "'+01"),
        ("-5 °C", "'-5 °C"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("＝1", "'＝1"),
        ("'=1", "''=1"),
        ("it's", "it's"),
    ],
)
def test_no_text_becomes_a_formula(text: str, cell: str) -> None:
    assert text_cell(text) == cell
    assert cell.removeprefix("'") == text or not cell.startswith("'")  # one taken away gives the text back


QUOTED = 'say "a,b"\r\nand more'
STORED: list[tuple[Record, str, Any]] = [
    (record("/9/0/0", "=cmd|' /C calc'!A0", DataType.STRING, 1), "'=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
    (record("/9/0/1", QUOTED, DataType.STRING, 1), QUOTED, QUOTED),
    (record("/9/0/2", -5, DataType.INTEGER, 1), "-5", -5),
    (record("/9/0/3", -0.5, DataType.FLOAT, 1), "-0.5", -0.5),
    (record("/9/0/4", float("-inf"), DataType.FLOAT, 1), "-inf", "-inf"),
    (record("/9/0/5", "-inf", DataType.STRING, 1), "'-inf", "-inf"),
    (record("/9/0/6", False, DataType.BOOLEAN, 1), "false", False),
    (record("/9/0/7", 2**64 - 1, DataType.UNSIGNED, 1), str(2**64 - 1), 2**64 - 1),
    (record("/9/0/8", "ä\x00𝄞", DataType.STRING, 1), "ä\x00𝄞", "ä\x00𝄞"),
]


async def test_every_value_survives_both_forms(client: Client, parts: Parts, tmp_path: FilePath) -> None:
    with closing(sqlite3.connect(tmp_path / "flownexus.db")) as connection, connection:
        connection.execute("UPDATE endpoint SET name = '=evil' WHERE name = ?", (QUIET,))
    await fill(tmp_path / "flownexus.db", parts.models, {"=evil": [one[0] for one in STORED]})
    _, text = await fetch(client, "=evil")
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [row[6] for row in rows] == [cell for _, cell, _ in STORED]
    assert {row[0] for row in rows} == {"'=evil"}
    assert {row[5] for row in rows} == {"1970-01-01T00:00:00.001Z"}
    _, text = await fetch(client, "=evil", "?format=ndjson")
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    assert [line["value"] for line in lines] == [value for _, _, value in STORED]
    assert {line["endpoint"] for line in lines} == {"=evil"}


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("kitchen", "flownexus-kitchen.csv"),
        ('a"; filename="b', "flownexus-a_filename_b.csv"),
        ("../../etc/passwd", "flownexus-.._.._etc_passwd.csv"),
        ("ä\r\nX: y", "flownexus-_X_y.csv"),
        ("CON", "flownexus-CON.csv"),
        ("x" * 300, f"flownexus-{'x' * 100}.csv"),
    ],
)
def test_a_file_has_a_name_that_any_disk_takes(endpoint: str, name: str) -> None:
    assert file_name(endpoint, "csv") == name


def test_times_are_iso_8601() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00.000Z"
    assert iso_time(-1) == "1969-12-31T23:59:59.999Z"
    assert iso_time(NOW_MS + 7) == "2026-11-18T11:06:40.007Z"
    assert iso_time(2**62) == iso_time(-(2**62)) == ""


def put_samples(database: FilePath, count: int, value: str) -> None:
    """Have the temperature of SENSOR be these values, `value` by the number i."""
    with closing(sqlite3.connect(database)) as connection, connection:
        (series,) = connection.execute("SELECT id FROM series WHERE path = '/3303/0/5700'").fetchone()
        connection.execute("DELETE FROM resource WHERE series_id = ?", (series,))
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
            f" INSERT INTO resource SELECT ?, i, {value} FROM n",
            (count, series),
        )


async def test_a_long_export_comes_in_small_pieces(
    client: Client, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written = StreamResponse.write, []

    async def noting(self: StreamResponse, data: Any) -> None:
        written.append(len(data))
        await write(self, data)

    monkeypatch.setattr(StreamResponse, "write", noting)
    put_samples(tmp_path / "flownexus.db", 200_000, "i / 8.0")
    lines = 0
    async with client.get(URL(f"/api/v1{TEMPERATURES}", encoded=True)) as response:
        async for piece in response.content.iter_any():
            lines += piece.count(b"\r\n")
    assert lines == 200_001
    assert len(written) == 201
    assert max(written) < 128 * PIECE


async def test_a_large_export_is_never_in_memory(client: Client, tmp_path: FilePath) -> None:
    put_samples(tmp_path / "flownexus.db", 10_000, "'x' || hex(zeroblob(2000)) || i")
    size = 0
    tracemalloc.start()
    try:
        async with client.get(URL(f"/api/v1{TEMPERATURES}", encoded=True)) as response:
            async for piece in response.content.iter_any():
                size += len(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 40_000_000
    assert peak < 10_000_000  # of both sides of the connection, and all else here


async def test_an_export_that_breaks_is_no_whole_file(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    take, pieces = Reader.take, []

    async def failing(self: Reader, *args: Any) -> Any:
        pieces.append(args)
        if len(pieces) > 2:
            raise sqlite3.OperationalError("disk I/O error")
        return await take(self, *args)

    monkeypatch.setattr(Reader, "take", failing)
    url = URL(f"/api/v1{of_endpoint(SENSOR, '/export?path=/3303/0/5700')}", encoded=True)
    async with client.get(url) as response:
        with pytest.raises(ClientPayloadError):
            await response.read()
    assert "export failed" in caplog.text


async def test_who_does_not_read_is_let_go(
    client: Client, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    break_off = api_history._broken_off

    def noting(request: Request, why: str) -> ConnectionError:
        error = break_off(request, why)
        assert request.transport is not None
        let_go.set_result(request.transport.get_write_buffer_size())
        return error

    monkeypatch.setattr(api_history, "_broken_off", noting)
    monkeypatch.setattr(api_history, "WRITE_TIMEOUT_S", 0.1)
    put_samples(tmp_path / "flownexus.db", 10_000, "'x' || hex(zeroblob(2000)) || i")
    _, writer = await asyncio.open_connection(client.host, client.port)
    try:
        head = f"GET /api/v1{TEMPERATURES} HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer admin\r\n\r\n"
        writer.write(head.encode())
        async with asyncio.timeout(20):
            assert await let_go == 0  # what was to be sent is not kept for it
    finally:
        writer.close()
