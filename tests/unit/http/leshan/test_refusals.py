"""What never comes to an answer of a device: Leshan's status and plain text, and nothing is asked."""

import asyncio

import pytest

from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.operations import EndpointOperation, Outcome
from flownexus_appliance.errors import UsageError
from flownexus_appliance.http.leshan.asking import MAX_BODY_BYTES
from flownexus_appliance.lwm2m.operations import MAX_ATTEMPTS, Status
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType

from ..house import QUIET, SENSOR, FakeFleet, FakeOperations, FakeReporting, record
from .conftest import BASE, Rest
from .speaking import content, failed, of_client, refusal, told

JSON = {"Content-Type": "application/json"}
LEVEL = record("/3/0/9", 95, DataType.INTEGER)
VALUE = {"id": 14, "type": "string", "value": "+02:00"}
INSTANCE = {"id": 0, "resources": [VALUE]}
SENML = "nodeformat=SENML_CBOR"


async def waited_for(operations: FakeOperations) -> int:
    """The number of the operation that a request asks for and waits for."""
    waiting = asyncio.Event()
    finished = operations.finished

    async def noted(operation_id: int, timeout_s: float) -> EndpointOperation:
        waiting.set()
        return await finished(operation_id, timeout_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FakeOperations, "finished", lambda _, *given: noted(*given))
        await waiting.wait()
    (number,) = operations.rows
    return number


@pytest.mark.parametrize("endpoint", [QUIET, "nobody", "a/b c'é"])
@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("GET", ""),
        ("GET", "/3/0/9"),
        ("GET", "/3/discover"),
        ("GET", "/composite?paths=/3"),
        ("PUT", "/3/0/14"),
        ("PUT", "/3"),
        ("POST", "/3/0/4"),
        ("DELETE", "/3/0/9/observe"),
    ],
)
async def test_a_device_that_is_not_registered(
    rest: Rest, operations: FakeOperations, endpoint: str, method: str, address: str
) -> None:
    assert await failed(rest, method, endpoint, address) == (
        400,
        f"No registered client with id '{endpoint}'",
    )
    assert operations.asked == []


@pytest.mark.parametrize("code", ["endpoint_unknown", "endpoint_unseen"])
async def test_a_device_that_leaves_in_between(rest: Rest, operations: FakeOperations, code: str) -> None:
    operations.failure = UsageError(code, "it is gone", "wait")
    text = f"No registered client with id '{SENSOR}'"
    assert await failed(rest, "GET", SENSOR, "/3/0/9") == (400, text)


@pytest.mark.parametrize(
    ("method", "address"),
    [("PUT", ""), ("PUT", "/3"), ("PUT", "/attributes"), ("POST", ""), ("POST", "/3/0/7/1")],
)
async def test_an_address_that_no_operation_has(
    rest: Rest, operations: FakeOperations, method: str, address: str
) -> None:
    assert await failed(rest, method, SENSOR, address) == (400, "Invalid path")
    assert operations.asked == []


@pytest.mark.parametrize("method", ["PATCH", "OPTIONS"])
async def test_a_method_that_leshan_does_not_have(rest: Rest, method: str) -> None:
    assert (await failed(rest, method, SENSOR, "/3/0"))[0] == 405


@pytest.mark.parametrize(
    ("method", "address", "body"),
    [
        ("GET", "/three", None),
        ("GET", "/3/0/65535", None),
        ("GET", "/3/0/9/0/0", None),
        ("GET", "/discover", None),
        ("GET", "/3/0/7/0/discover", None),
        ("GET", "/3/0/9/observe", None),
        ("POST", "/observe", INSTANCE),
        ("POST", "/three/observe", None),
        ("POST", "/3/0", INSTANCE),
        ("POST", "/three", INSTANCE),
        ("DELETE", "", None),
        ("DELETE", "/3", None),
        ("DELETE", "/3/0/9", None),
        ("DELETE", "/3/0/7/0", None),
        ("DELETE", "/three/observe", None),
        ("PUT", "/three/0/14", VALUE),
        ("PUT", "/three/attributes?pmin=1", None),
        ("PUT", "/3/0/9", VALUE),  # the id of another resource
        ("PUT", "/3/0", VALUE),
        ("PUT", "/3/0/14", INSTANCE),
        ("PUT", "/3/0/14/0", {**VALUE, "id": 0, "kind": "singleResource"}),
        ("PUT", "/3/0/14?replace=false", VALUE),
        ("PUT", "/3/0/14/0?replace=false", {**VALUE, "id": 0, "kind": "resourceInstance"}),
        ("PUT", "/3/0", {"id": 0, "resources": []}),
        ("PUT", "/3/0/7", {"id": 7, "type": "integer", "values": {}}),
        ("PUT", "/3/0?format=TEXT", INSTANCE),
        ("PUT", "/3/0/14?format=OPAQUE", VALUE),
        ("PUT", "/3/0/14?format=LINK", VALUE),
        ("POST", "/16", VALUE),
        ("POST", "/16", {"id": 16, "instances": [INSTANCE]}),
        ("POST", "/16?format=SENML_CBOR", {"resources": [VALUE]}),
        ("GET", f"/composite?pathformat=SENML_CBOR&{SENML}&paths=/3/0,/3", None),
        ("GET", f"/composite?pathformat=SENML_CBOR&{SENML}&paths=/3/0/9,/3/0/9", None),
        ("GET", "/composite?pathformat=TLV&paths=/3/0", None),
        ("POST", "/composite/observe?pathformat=TEXT&paths=/3/0", None),
        ("PUT", f"/composite?{SENML}", {"/3/0": INSTANCE}),
        ("PUT", f"/composite?{SENML}", {"/three": VALUE}),
        ("PUT", f"/composite?{SENML}", {"/3/0/9": VALUE}),
        ("PUT", f"/composite?{SENML}", {"/3/0/14": None}),
        ("PUT", f"/composite?{SENML}", [VALUE]),
        ("PUT", f"/composite?{SENML}", {}),
        ("PUT", "/composite?nodeformat=TEXT", {"/3/0/14": VALUE}),
    ],
)
async def test_what_cannot_be_asked_of_a_device(
    rest: Rest, operations: FakeOperations, method: str, address: str, body: object
) -> None:
    status, text = await failed(rest, method, SENSOR, address, body)
    assert status == 400
    assert text.startswith("Invalid request: ")
    assert len(text) > len("Invalid request: ")
    assert operations.asked == []


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 50_000, b'{"id": 14,}'])
@pytest.mark.parametrize(
    ("method", "address"), [("PUT", "/3/0/14"), ("POST", "/16"), ("PUT", f"/composite?{SENML}")]
)
async def test_a_body_that_is_no_json(
    rest: Rest, operations: FakeOperations, method: str, address: str, data: bytes
) -> None:
    status, text = await failed(rest, method, SENSOR, address, data=data, headers=JSON)
    assert (status, text[:17]) == (400, "Invalid request: ")
    assert operations.asked == []


@pytest.mark.parametrize(
    ("method", "address", "content_type"),
    [
        ("PUT", "/3/0/14", "application/x-www-form-urlencoded"),
        ("PUT", "/3/0/14", "application/octet-stream"),
        ("POST", "/16", "text/plain"),
        ("PUT", "/3/0", "text/plain"),
    ],
)
async def test_a_body_of_another_type(
    rest: Rest, operations: FakeOperations, method: str, address: str, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    status, text = await failed(rest, method, SENSOR, address, data=b"{}", headers=headers)
    assert (status, text[:17]) == (400, "Invalid request: ")
    assert operations.asked == []


async def test_arguments_that_no_execute_takes(rest: Rest, operations: FakeOperations) -> None:
    for data in (b"now", b"\xff", b"0='" + b"x" * 2000 + b"'"):
        status, text = await failed(rest, "POST", SENSOR, "/3/0/4", data=data)
        assert (status, text[:17]) == (400, "Invalid request: ")
    assert operations.asked == []


async def test_text_that_is_not_utf8(rest: Rest, operations: FakeOperations) -> None:
    headers = {"Content-Type": "text/plain"}
    status, _ = await failed(rest, "PUT", SENSOR, "/3/0/14", data=b"\xff", headers=headers)
    assert status == 400
    assert operations.asked == []


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 10 * MAX_BODY_BYTES])
async def test_a_body_beyond_the_bound(rest: Rest, operations: FakeOperations, size: int) -> None:
    status, text = await failed(rest, "PUT", SENSOR, "/19/0/0", data=b" " * size, headers=JSON)
    assert (status, text) == (413, f"Invalid request: more than {MAX_BODY_BYTES} bytes")
    assert operations.asked == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?timeout=5",
        "?pmin=10&timeout=5",
        "?pmin=soon",
        "?pmin=",
        "?pmin=1&pmin=2",
        "?pmin=10&pmax=5",
        "?ver=1.1",
    ],
)
async def test_attributes_that_there_are_not(rest: Rest, operations: FakeOperations, query: str) -> None:
    status, text = await failed(rest, "PUT", SENSOR, f"/3/0/9/attributes{query}")
    assert (status, text[:20]) == (400, "Invalid attributes: ")
    assert operations.asked == []


async def test_steps_are_not_for_instances(rest: Rest, operations: FakeOperations) -> None:
    status, text = await failed(rest, "PUT", SENSOR, "/3/0/attributes?st=1")
    assert (status, text[:20]) == (400, "Invalid attributes: ")
    assert operations.asked == []


@pytest.mark.parametrize(
    ("method", "address", "body"),
    [
        ("PUT", "/3/0/14", {**VALUE, "value": 5}),
        ("PUT", "/3/0/14", {**VALUE, "type": "number"}),
        ("PUT", "/3/0/14", {"id": 14, "value": "+02:00"}),
        ("PUT", "/3/0/13", {"id": 13, "type": "time", "value": "2026-01-01"}),
        ("POST", "/16", {"id": 0, "resources": [{**VALUE, "value": True}]}),
        ("PUT", f"/composite?{SENML}", {"/3/0/14": {**VALUE, "value": []}}),
        ("PUT", "/composite", {"/3/0/14": VALUE}),
        ("PUT", "/composite?nodeformat=unknown", {"/3/0/14": VALUE}),
        ("GET", f"/composite?{SENML}&paths=/3/0", None),
        ("GET", "/composite?pathformat=SENML_CBOR", None),
        ("GET", "/composite?pathformat=SENML_CBOR&paths=/three", None),
        ("POST", "/composite/observe?pathformat=SENML_CBOR", None),
        ("POST", "/composite/observe?paths=/3/0", None),
        ("DELETE", "/composite/observe", None),
        ("DELETE", "/composite/observe?active&paths=three", None),
    ],
)
async def test_what_leshan_did_not_expect(
    rest: Rest, operations: FakeOperations, method: str, address: str, body: object
) -> None:
    status, text = await failed(rest, method, SENSOR, address, body)
    assert (status, text[:22]) == (500, "Unexpected exception: ")
    assert len(text) > 22
    assert operations.asked == []


@pytest.mark.parametrize("address", ["/3/0/9/observe?active", "/composite/observe?active&paths=/3/0/9"])
@pytest.mark.parametrize("state", [None, "waiting", "off"])
async def test_to_end_what_is_not_observed(
    rest: Rest, fleet: FakeFleet, operations: FakeOperations, address: str, state: str | None
) -> None:
    if state is not None:
        paths = (Path.of(3, 0, 9),)
        fleet.reports[SENSOR] = [
            FakeReporting(paths, composite=composite, state=state) for composite in (False, True)
        ]
    status, text = await failed(rest, "DELETE", SENSOR, address)
    assert (status, text) == (404, f"no observation for /3/0/9 of client '{SENSOR}'")
    assert operations.asked == []


async def test_a_device_that_is_silent(rest: Rest, operations: FakeOperations) -> None:
    assert await failed(rest, "GET", SENSOR, "/3/0/9?timeout=0") == (504, "Request timeout")
    (row,) = operations.rows.values()
    assert row.status is Status.CANCELLED  # nothing is left to be done


async def test_a_request_is_held_until_the_device_answers(rest: Rest, operations: FakeOperations) -> None:
    asking = asyncio.create_task(told(rest, "GET", SENSOR, "/3/0/9?timeout=60"))
    number = await waited_for(operations)
    assert not asking.done()
    await operations.end(number, *content(LEVEL))
    assert (await asking)["content"]["value"] == "95"


async def test_an_answer_at_the_last_moment_counts(
    rest: Rest, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = operations.cancel

    async def answered_first(operation_id: int) -> EndpointOperation:
        await operations.end(operation_id, *content(LEVEL))
        return await cancel(operation_id)

    monkeypatch.setattr(FakeOperations, "cancel", lambda _, number: answered_first(number))
    assert (await told(rest, "GET", SENSOR, "/3/0/9?timeout=0"))["status"] == "CONTENT(205)"


async def test_a_device_that_says_later_has_answered(
    rest: Rest, operations: FakeOperations, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = operations.finished

    async def postponed(operation_id: int, timeout_s: float) -> EndpointOperation:
        await operations.end(operation_id, Status.QUEUED, Outcome("5.03", message="busy"))
        return await finished(operation_id, timeout_s)

    monkeypatch.setattr(FakeOperations, "finished", lambda _, *given: postponed(*given))
    answer = await told(rest, "GET", SENSOR, "/3/0/9?timeout=0")
    assert (answer["status"], answer["errormessage"]) == ("UNKNOWN(503)", "busy")
    (row,) = operations.rows.values()
    assert row.status is Status.CANCELLED


@pytest.mark.parametrize(
    ("ending", "attempts", "method", "address", "status", "text"),
    [
        (Status.FAILED, MAX_ATTEMPTS, "GET", "/3/0/9", 504, "Request timeout"),
        (Status.FAILED, 1, "POST", "/3/0/4", 504, "Request timeout"),
        (Status.EXPIRED, 0, "GET", "/3/0/9", 504, "Request timeout"),
        (Status.EXPIRED, 2, "GET", "/3/0/9", 504, "Request timeout"),
        (Status.CANCELLED, 1, "GET", "/3/0/9", 500, "Request cancelled: why"),
        (Status.FAILED, 1, "GET", "/3/0/9", 500, "Invalid Response: why"),
        (Status.FAILED, 0, "GET", "/3/0/9", 400, "Invalid request: why"),
    ],
)
async def test_endings_without_an_answer_of_the_device(
    rest: Rest,
    operations: FakeOperations,
    ending: Status,
    attempts: int,
    method: str,
    address: str,
    status: int,
    text: str,
) -> None:
    asking = asyncio.create_task(failed(rest, method, SENSOR, f"{address}?timeout=60"))
    number = await waited_for(operations)
    # `end` counts one attempt more where the ending is not a cancellation.
    before = attempts if ending is Status.CANCELLED else attempts - 1
    object.__setattr__(operations.rows[number], "attempts", before)
    await operations.end(number, ending, Outcome(message="why"))
    assert await asking == (status, text)


async def test_a_line_that_is_full(rest: Rest, operations: FakeOperations) -> None:
    operations.failure = UsageError("queue_full", "1000 operations wait", "cancel some")
    assert await failed(rest, "GET", SENSOR, "/3/0/9") == (
        500,
        "Request rejected: 1000 operations wait: cancel some",
    )


async def test_a_disk_that_is_full(rest: Rest, operations: FakeOperations) -> None:
    operations.failure = StoreError("store_full", "the disk is full", "make room")
    assert await failed(rest, "GET", SENSOR, "/3/0/9") == (
        500,
        "Unexpected exception: the disk is full: make room",
    )


async def test_a_clock_that_leaps(rest: Rest, operations: FakeOperations) -> None:
    operations.now_ms += 3_600_000
    assert await failed(rest, "GET", SENSOR, "/3/0/9") == (504, "Request timeout")


async def test_what_goes_wrong_within_is_told_without_its_insides(
    rest: Rest, fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(FakeFleet, "registration", broken)
    async with rest.get(f"{BASE}/clients") as response:
        assert response.status == 500
        assert await response.text() == "Unexpected exception: something went wrong in the appliance"
    assert "secret insides" in caplog.text


async def test_pages_of_other_sites_can_ask_for_nothing(rest: Rest, operations: FakeOperations) -> None:
    operations.ends = refusal("4.04")
    headers = {"Origin": "https://elsewhere.example"}
    async with rest.post(of_client(SENSOR, "/3/0/4"), headers=headers) as response:
        assert response.status == 403
    assert operations.asked == []
