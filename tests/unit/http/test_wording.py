"""How values and times are written for people; the browser's own half is held against this one."""

import re
from collections.abc import Iterator

import pytest

from flownexus_appliance.http import language, wording
from flownexus_appliance.lwm2m.operations import Kind, Status

from .house import NOW_MS


@pytest.fixture
def german() -> Iterator[None]:
    token = language.use(language.load("de"))
    yield
    token.var.reset(token)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21.5, "21.50"),
        (0.0, "0.00"),
        (-5.25, "\u22125.25"),
        (0.0314, "0.031"),
        (0.000123, "1.23e-4"),
        (1013.25, "1013.2"),
        (101325.0, "101\u202f325"),
        (1e18, "1.00e18"),
        (-1234567.5, "\u22121\u202f234\u202f568"),
        (float(2**53), "9.01e15"),
        (87, "87"),
        (8640, "8640"),
        (86400, "86\u202f400"),
        (-86400, "\u221286\u202f400"),
        (2**64 - 1, "18\u202f446\u202f744\u202f073\u202f709\u202f551\u202f615"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert wording.number_text(value) == text


def test_degrees_keep_the_metre() -> None:
    assert wording.number_text(52.520008, degrees=True) == "52.52001"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (86_400, "24 h"), (172_800, "2 d")],
)
def test_spans(seconds: float, text: str) -> None:
    assert wording.duration_text(seconds) == text


@pytest.mark.parametrize(
    ("age_ms", "text"),
    [(-90_000, "just now"), (1999, "just now"), (12_000, "12 s ago"), (7_200_000, "2 h ago")],
)
def test_ages(age_ms: int, text: str) -> None:
    assert wording.ago_text(1_000_000_000, 1_000_000_000 + age_ms) == text


def test_a_moment_no_calendar_has_is_shown_as_it_is() -> None:
    assert wording.moment_text(2**62) == f"{2**62} ms"


@pytest.mark.parametrize(
    ("object_id", "resource_id", "data_type", "key", "text"),
    [
        (3342, 5500, "boolean", "true", "On"),
        (1, 6, "boolean", "false", "No"),
        (5, 3, "integer", "2", "Downloaded"),
    ],
)
def test_labels(object_id: int, resource_id: int, data_type: str, key: str, text: str) -> None:
    labels = wording.labels_of(object_id, resource_id, data_type)
    assert labels is not None
    assert labels[key] == text


def test_a_number_that_means_itself_has_no_labels() -> None:
    assert wording.labels_of(3303, 5700, "float") is None


@pytest.mark.parametrize(("units", "text"), [("Cel", "°C"), ("cel", "°C"), ("%RH", "% RH"), ("bogo", "bogo")])
def test_units(units: str, text: str) -> None:
    assert wording.unit_text(units) == text


@pytest.mark.parametrize(
    ("left_ms", "text"),
    [(0, "0:00"), (-5000, "0:00"), (1, "0:01"), (59_001, "1:00"), (600_000, "10:00"), (3_600_000, "1:00:00")],
)
def test_a_window_counts_down(left_ms: int, text: str) -> None:
    assert wording.left_text(NOW_MS + left_ms, NOW_MS) == text


@pytest.mark.parametrize(
    ("ahead_s", "text"),
    [
        (0, "due now"),
        (-9, "due now"),
        (60, "in 1 min"),
        (60 * 86_400, "in 60 d"),
        (729 * 86_400, "in 729 d"),
        (731 * 86_400, "in 2 years"),
    ],
)
def test_what_lies_ahead(ahead_s: int, text: str) -> None:
    assert wording.ahead_text(NOW_MS + ahead_s * 1000, NOW_MS) == text


def test_fingerprints_are_written_as_browsers_do() -> None:
    assert wording.fingerprint_text("00ff1a") == "00:FF:1A"
    assert wording.fingerprint_text("") == ""


@pytest.mark.parametrize(
    ("span_ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_940, "59.9 s"),
        (60_000, "1 min"),
        (7_200_000, "2 h"),
    ],
)
def test_how_long_something_took(span_ms: int, text: str) -> None:
    assert wording.span_text(span_ms) == text


def test_codes_have_names() -> None:
    assert wording.code_text("4.04") == "4.04 Not Found"
    assert wording.code_text("7.31") == "7.31"
    assert wording.code_text("") == ""
    assert set(wording.CODE_MEANINGS) <= set(wording.CODE_NAMES)


def test_every_operation_and_status_has_its_words() -> None:
    assert set(wording.OPERATION_NAMES) == set(wording.OPERATION_TITLES) == set(Kind)
    assert set(wording.OPERATION_STATUS) == set(Status)
    assert all("%(paths)s" in title for title in wording.OPERATION_TITLES.values())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21.5, "21,50"),
        (-0.0314, "\u22120,031"),
        (0.000123, "1,23e-4"),
        (1234567.5, "1\u202f234\u202f568"),
        (1013.25, "1013,2"),
        (86400, "86\u202f400"),
    ],
)
def test_numbers_in_german(german: None, value: float, text: str) -> None:
    assert wording.number_text(value) == text


def test_times_in_german(german: None) -> None:
    hour = 3_600_000
    assert wording.ago_text(NOW_MS, NOW_MS) == "gerade eben"
    assert wording.ago_text(NOW_MS - hour, NOW_MS) == "vor 1 h"
    assert wording.ahead_text(NOW_MS + hour, NOW_MS) == "in 1 h"
    assert wording.ahead_text(NOW_MS + 731 * 24 * hour, NOW_MS) == "in 2 Jahren"
    assert wording.span_text(1200) == "1,2 s"
    assert re.fullmatch(r"\d\d?\. M\u00e4rz 2000, \d\d:\d\d", wording.moment_text(952_782_400_000))


def test_every_month_has_its_name_in_german(german: None) -> None:
    assert [language.gettext(month) for month in wording.MONTHS] == [
        "Jan.",
        "Feb.",
        "M\u00e4rz",
        "Apr.",
        "Mai",
        "Juni",
        "Juli",
        "Aug.",
        "Sept.",
        "Okt.",
        "Nov.",
        "Dez.",
    ]


def test_labels_in_german(german: None) -> None:
    labels = wording.labels_of(5, 3, "integer")
    assert labels is not None
    assert labels["2"] == "Heruntergeladen"
    assert wording.labels_of(3303, 5700, "float") is None
