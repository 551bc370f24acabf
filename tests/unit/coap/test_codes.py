"""The table from error codes to CoAP codes, against what the code really raises."""

import ast
from collections.abc import Iterator
from pathlib import Path

import flownexus_appliance
from flownexus_appliance.coap.codes import ERROR_CODES, SUCCESS_CODES, dotted
from flownexus_appliance.lwm2m.effects import Success

PACKAGE = Path(flownexus_appliance.__file__).parent
# What only our own side meets: no request of a device ends in it.
OURS = {"ddf_invalid"}


def raised() -> Iterator[tuple[str, str]]:
    """Every code that lwm2m/, coap/ and fleet/ give a PeerError, and where.

    Also those given to a name that stands for the error class, as in `error("path_invalid", ...)`.
    """
    for package in ("lwm2m", "coap", "fleet"):
        for file in sorted((PACKAGE / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                    first = node.args[0]
                    if node.func.id in ("PeerError", "error") and isinstance(first, ast.Constant):
                        yield str(first.value), f"{file.relative_to(PACKAGE)}:{node.lineno}"


def test_every_error_a_device_can_cause_has_a_coap_code() -> None:
    found = list(raised())
    assert len(found) > 50
    missing = [f"{where}: {code}" for code, where in found if code not in ERROR_CODES]
    assert missing == []


def test_every_code_is_given_as_a_word() -> None:
    """A code put together at run time would escape the table."""
    for package in ("lwm2m", "coap", "fleet"):
        for file in sorted((PACKAGE / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id == "PeerError"
                ):
                    assert isinstance(node.args[0], ast.Constant), f"{file}:{node.lineno}"


def test_nothing_in_the_table_is_out_of_use() -> None:
    assert set(ERROR_CODES) - OURS <= {code for code, _ in raised()}


def test_a_device_is_never_told_of_a_server_error() -> None:
    """Any error parks Zephyr's client for 1235 s, and ours are not its fault: they are silence."""
    assert {code >> 5 for code in ERROR_CODES.values()} == {4}


def test_the_codes_of_issue_2() -> None:
    expected = {
        "links_invalid": "4.00",
        "query_invalid": "4.00",
        "payload_invalid": "4.00",
        "path_invalid": "4.00",
        "endpoint_missing": "4.00",
        "registration_unknown": "4.04",
        "not_found": "4.04",
        "method_not_allowed": "4.05",
        "not_acceptable": "4.06",
        "version_unsupported": "4.12",
        "body_too_large": "4.13",
        "content_format_unsupported": "4.15",
        "option_unknown": "4.02",
        "block_missing": "4.08",
    }
    assert {name: dotted(ERROR_CODES[name]) for name in expected} == expected


def test_every_success_has_a_code() -> None:
    assert {success: dotted(SUCCESS_CODES[success]) for success in Success} == {
        Success.CREATED: "2.01",
        Success.DELETED: "2.02",
        Success.CHANGED: "2.04",
        Success.CONTENT: "2.05",
    }
