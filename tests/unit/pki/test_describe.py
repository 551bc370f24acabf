"""What the page tells of the certificates: which there are, until when, and what comes next."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes

from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.describe import CertificateStatus

from .house import DAY, NAMES, NOW, YEAR, ensured, parse

START = NOW.replace(microsecond=0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return ensured(tmp_path / "pki")


def by_kind(statuses: tuple[CertificateStatus, ...]) -> list[tuple[str, str]]:
    return [(status.kind.value, status.state.value) for status in statuses]


def test_a_new_box(authority: Authority) -> None:
    root, dtls, https = statuses = authority.describe(NOW)
    assert by_kind(statuses) == [("root", "current"), ("dtls", "current"), ("https", "current")]
    end = parse(authority.newest_root).not_valid_after_utc
    assert (root.not_after, root.trusted_until, root.next_step) == (end, end, end - 3 * YEAR)
    assert root.subject == root.issuer == dtls.issuer == https.issuer
    assert "3 years before its end" in root.reason
    for leaf in (dtls, https):
        assert leaf.subject == "flownexus"
        assert (leaf.not_after, leaf.next_step) == (START + 90 * DAY, START + 60 * DAY)
        assert "two thirds" in leaf.reason


def test_a_certificate_is_known_by_what_others_show_of_it(authority: Authority) -> None:
    found = parse(authority.dtls_chain().certificates[0])
    status = authority.describe(NOW)[1]
    assert int(status.serial, 16) == found.serial_number
    assert status.fingerprint == found.fingerprint(hashes.SHA256()).hex()
    assert status.not_before == found.not_valid_before_utc


def test_during_a_roll_over(authority: Authority) -> None:
    first = authority.describe(NOW)[0].subject
    authority.roll_over(NOW, 50 * DAY)
    second = authority.describe(NOW)[0].subject
    authority.roll_over(NOW, 70 * DAY)
    statuses = authority.describe(NOW)
    assert by_kind(statuses) == [
        ("root", "current"), ("root", "old"), ("root", "old"),
        ("cross", "current"), ("cross", "current"), ("dtls", "current"), ("https", "current"),
    ]  # fmt: skip
    newest, middle, oldest = statuses[:3]
    assert [middle.subject, oldest.subject] == [second, first]
    assert middle.trusted_until == middle.next_step == START + 70 * DAY
    assert oldest.trusted_until == START + 50 * DAY
    assert oldest.not_after == START + timedelta(days=20 * 365 + 5)
    assert "until its overlap ends" in middle.reason
    for cross, older, newer in ((statuses[3], middle, newest), (statuses[4], oldest, middle)):
        assert (cross.subject, cross.issuer) == (newer.subject, older.subject)
        assert cross.trusted_until == older.trusted_until
        assert older.subject in cross.reason


def test_what_is_due_or_over_is_told_so(authority: Authority) -> None:
    _, dtls, _ = authority.describe(START + 60 * DAY)
    assert dtls.reason.startswith("It is to be made anew by now")
    _, dtls, _ = authority.describe(NOW + 90 * DAY)
    assert dtls.reason.startswith("It has ended")
    root, *_ = authority.describe(NOW + 18 * YEAR)
    assert root.reason.startswith("It is to be rolled over to a new root by now")
    root, *_ = authority.describe(START - 20 * YEAR)  # a clock that cannot be right
    assert root.reason.startswith("It will be rolled over")


def test_every_reason_is_a_sentence(authority: Authority) -> None:
    authority.roll_over(NOW)
    for now in (NOW, NOW + 61 * DAY, NOW + 91 * DAY, NOW + 19 * YEAR):
        for status in authority.describe(now):
            assert status.reason[0].isupper()
            assert status.reason.endswith(".")
    for change in authority.ensure(NAMES, NOW + 61 * DAY):
        assert change.message.endswith(".")
