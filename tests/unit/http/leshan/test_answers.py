"""What a device answered, in Leshan's JSON: the names of codes, and which of them an operation may have."""

import pytest

from flownexus_appliance.db.operations import EndpointOperation, Outcome
from flownexus_appliance.http.leshan.answers import response_json, status_text
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path

CODES = {
    "2.01": "CREATED(201)",
    "2.02": "DELETED(202)",
    "2.04": "CHANGED(204)",
    "2.05": "CONTENT(205)",
    "4.00": "BAD_REQUEST(400)",
    "4.01": "UNAUTHORIZED(401)",
    "4.03": "FORBIDDEN(403)",
    "4.04": "NOT_FOUND(404)",
    "4.05": "METHOD_NOT_ALLOWED(405)",
    "4.06": "NOT_ACCEPTABLE(406)",
    "4.08": "REQUEST_ENTITY_INCOMPLETE(408)",
    "4.12": "PRECONDITION_FAILED(412)",
    "4.13": "REQUEST_ENTITY_TOO_LARGE(413)",
    "4.15": "UNSUPPORTED_CONTENT_FORMAT(415)",
    "5.00": "INTERNAL_SERVER_ERROR(500)",
}
EVERYWHERE = {"4.00", "4.01", "4.04", "4.05", "5.00"}
ELSEWHERE = {
    Kind.READ: {"2.05", "4.06"},
    Kind.OBSERVE: {"2.05", "4.06"},
    Kind.CANCEL: {"2.05", "4.06"},
    Kind.READ_COMPOSITE: {"2.05", "4.06", "4.15"},
    Kind.OBSERVE_COMPOSITE: {"2.05", "4.06", "4.15"},
    Kind.DISCOVER: {"2.05"},
    Kind.WRITE: {"2.04", "4.08", "4.13", "4.15"},
    Kind.WRITE_PARTIAL: {"2.04", "4.08", "4.13", "4.15"},
    Kind.WRITE_COMPOSITE: {"2.04", "4.06"},
    Kind.WRITE_ATTRIBUTES: {"2.04"},
    Kind.EXECUTE: {"2.04"},
    Kind.CREATE: {"2.01", "4.15"},
    Kind.DELETE: {"2.02"},
}


def answered(kind: Kind, code: str) -> EndpointOperation:
    status = Status.CONFIRMED if code.startswith("2") else Status.FAILED
    operation = Operation(kind, (Path.of(3, 0),))
    return EndpointOperation(1, "kitchen", operation, "leshan", 0, 0, status, 1, outcome=Outcome(code))


@pytest.mark.parametrize(
    ("code", "shown"), [*CODES.items(), ("5.03", "UNKNOWN(503)"), ("4.29", "UNKNOWN(429)")]
)
def test_codes_have_leshans_names(code: str, shown: str) -> None:
    assert status_text(code) == shown


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_valid_is_what_an_operation_may_be_answered(kind: Kind) -> None:
    told = {code: response_json(answered(kind, code)) for code in [*CODES, "5.03"]}
    assert {code for code, answer in told.items() if answer["valid"]} == EVERYWHERE | ELSEWHERE[kind]
    assert {code for code, answer in told.items() if answer["success"]} == {"2.01", "2.02", "2.04", "2.05"}
    assert all(answer["failure"] is not answer["success"] for answer in told.values())


def test_every_operation_that_a_device_answers_has_its_codes() -> None:
    assert set(ELSEWHERE) == set(Kind) - {Kind.CANCEL_PASSIVE}


def test_an_empty_field_is_left_out() -> None:
    bare = {"valid", "success", "failure", "status"}
    assert set(response_json(answered(Kind.CREATE, "2.01"))) == bare
    assert set(response_json(answered(Kind.READ, "4.04"))) == bare
    assert set(response_json(answered(Kind.EXECUTE, "2.04"))) == bare
