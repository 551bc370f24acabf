"""The table from error code to status is whole, and nothing leaves in another shape."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import flownexus_appliance
from flownexus_appliance.errors import ApplianceError, PeerError, UsageError
from flownexus_appliance.http import requests
from flownexus_appliance.http.errors import STATUS, status_of

from .conftest import Client

PACKAGE = Path(flownexus_appliance.__file__).parent
# Whose errors can come out of a request: fleet/ and access/ are asked by it, lwm2m/, db/ and pki/ below.
REACHABLE = ("http", "fleet", "access", "db", "lwm2m", "pki")
# Raised at start only, when there is no server to answer.
AT_START = frozenset(
    "database_foreign database_newer database_unreadable static_missing certificate_unusable"
    " address_unusable control_in_use control_unusable".split()
)


def raised(kinds: frozenset[str]) -> Iterator[tuple[str, str]]:
    """The literal codes of the errors of these classes that the reachable packages make."""
    for package in REACHABLE:
        for path in sorted((PACKAGE / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in kinds
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield str(node.args[0].value), path.name


def test_every_error_of_ours_has_its_status() -> None:
    found = dict(raised(frozenset({"UsageError", "StoreError", "PkiError", "ApplianceError"})))
    assert {"endpoint_unknown", "value_invalid", "store_failed", "query_invalid"} <= set(found)
    missing = {code: where for code, where in found.items() if code not in STATUS and code not in AT_START}
    assert not missing, f"add these codes to http/errors.py: {missing}"


@pytest.mark.parametrize(("code", "status"), STATUS.items())
def test_a_status_of_the_table_is_an_error(code: str, status: int) -> None:
    assert status_of(PeerError(code, "m")) == status_of(ApplianceError(code, "m")) == status
    assert 400 <= status < 600


def test_an_unlisted_code_goes_by_whose_fault_it_is() -> None:
    assert status_of(UsageError("new", "m")) == 400
    assert status_of(PeerError("new", "m")) == 502
    assert status_of(ApplianceError("new", "m")) == 500


async def test_a_browser_gets_a_page(client: Client) -> None:
    headers = {"Accept": "text/html,application/xhtml+xml"}
    async with client.get("/devices/%3Cscript%3Ealert(1)%3C%2Fscript%3E", headers=headers) as response:
        assert response.status == 404
        assert response.content_type == "text/html"
        text = await response.text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert" not in text


async def test_a_program_gets_json_at_a_page_too(client: Client) -> None:
    async with client.get("/devices/nobody") as response:
        assert response.status == 404
        assert set(await response.json()) == {"error", "message", "hint"}


async def test_a_failure_inside_tells_nothing_of_the_inside(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(requests, "question", fail)
    async with client.get("/api/v1/endpoints") as response:
        assert response.status == 500
        body = await response.text()
    assert "internal_error" in body
    assert "secret" not in body
    assert "secret detail" in caplog.text


async def test_every_answer_is_guarded(client: Client) -> None:
    for path in ("/", "/api/v1/endpoints", "/nothing", "/healthz"):
        async with client.get(path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert "Server" not in response.headers
