"""The page of certificates: what is valid until when, in words; rotation and roll-over by forms."""

from collections.abc import Sequence

import pytest

from flownexus_appliance.http.wording import fingerprint_text
from flownexus_appliance.pki.describe import CertificateStatus

from .conftest import Client
from .house import NOW_MS
from .page import check_policy, page, refused, send, value, wrong
from .trust import FakeCertificates

DAY_MS = 86_400_000


async def test_it_tells_what_is_valid_until_when_and_why(
    client: Client, certificates: FakeCertificates
) -> None:
    found = await page(client, "/certificates")
    check_policy(found)
    for words in (
        "One root,",
        "The certificate for devices is made anew in 60 d",
        "The certificate for browsers is made anew in 60 d",
        "A new root takes over, by itself in 17 years",
        "Shown to devices (CoAP over DTLS) In use It will be made anew when two thirds of its life are over",
        "Valid until in 90 d",
        "1970, so that devices without a clock take it",
        "Rotate now",
        "Roll over to a new root",
    ):
        assert words in found.text, words
    for status in certificates.describe():
        assert fingerprint_text(status.fingerprint) in found.text
        assert status.serial in found.text
    assert "Finish the roll-over" not in found.text
    assert str(NOW_MS + 90 * DAY_MS) in found.all("data-moment")
    assert {"/api/v1/certificates/ca.pem", "/api/v1/certificates/ca.der"} <= set(found.all("href"))


def leafs(certificates: FakeCertificates) -> list[str]:
    return [status.serial for status in certificates.describe() if status.kind.value in ("dtls", "https")]


async def test_rotation_is_a_button(client: Client, certificates: FakeCertificates) -> None:
    before = leafs(certificates)
    place = await send(client, "/certificates/rotate")
    assert not set(before) & set(leafs(certificates))
    found = await page(client, place)
    assert "New server certificates are in use" in found.text
    assert "status" in found.all("role")


async def test_a_roll_over_is_explained_begun_and_finished(
    client: Client, certificates: FakeCertificates
) -> None:
    asked = await page(client, "/certificates/roll-over")
    check_policy(asked)
    assert "nobody is cut off" in asked.text
    assert "Left empty: 1095 days." in asked.text
    assert len(certificates.roots()) == 1
    place = await send(client, "/certificates/roll-over", {"days": "30"})
    found = await page(client, place)
    check_policy(found)
    for words in (
        "The new root signs from now on",
        "A roll-over is under way.",
        "The older root is trusted no more FlowNexus root 1",
        "Still trusted",
        "Bridge to the newer root",
        "Trusted until in 30 d",
    ):
        assert words in found.text, words
    asked = await page(client, "/certificates/roll-over/finish")
    check_policy(asked)
    assert "are refused from then on" in asked.text
    assert len(certificates.roots()) == 2
    place = await send(client, "/certificates/roll-over/finish")
    assert len(certificates.roots()) == 1
    assert "newest root alone" in (await page(client, place)).text


async def test_left_empty_the_overlap_is_the_usual(client: Client, certificates: FakeCertificates) -> None:
    await send(client, "/certificates/roll-over", {"days": " "})
    old = certificates.describe()[1]
    assert (old.trusted_until - certificates.now).days == 1095


@pytest.mark.parametrize("days", ["0", "-1", "x", "1.5", "99999", "<b>"])
async def test_a_wrong_overlap_is_told_beside_its_field(
    client: Client, certificates: FakeCertificates, days: str
) -> None:
    found = await refused(client, "/certificates/roll-over", 400, {"days": days})
    check_policy(found)
    assert wrong(found) == ["days"]
    assert value(found, "days") == days
    assert len(certificates.roots()) == 1


async def test_there_is_nothing_to_finish_without_a_roll_over(client: Client) -> None:
    assert "no roll-over under way" in (await page(client, "/certificates/roll-over/finish")).text
    found = await refused(client, "/certificates/roll-over/finish", 409, {})
    check_policy(found)
    assert "alert" in found.all("role")


@pytest.mark.parametrize("path", ["rotate", "roll-over", "roll-over/finish"])
async def test_a_clock_that_is_not_trusted_is_said_and_nothing_done(
    client: Client, certificates: FakeCertificates, path: str
) -> None:
    certificates.doubtful = "the clock says 1970 <b>"
    found = await page(client, "/certificates")
    assert "The clock is not trusted: the clock says 1970 <b>" in found.text
    assert "Nothing, until the clock is right." in found.text
    assert "Rotate now" not in found.text
    before = leafs(certificates)
    found = await refused(client, f"/certificates/{path}", 503, {})
    assert "1970 <b>" in found.text
    assert leafs(certificates) == before


async def test_a_box_without_a_root_says_what_works(
    client: Client, certificates: FakeCertificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Sequence[CertificateStatus] = ()
    monkeypatch.setattr(FakeCertificates, "describe", lambda _: nothing)
    certificates.doubtful = "it says 1970"
    found = await page(client, "/certificates")
    check_policy(found)
    assert "There is no root yet." in found.text
    assert "devices can use pre-shared keys only" in found.text
    assert "ca.pem" not in "".join(found.all("href"))


async def test_an_unknown_notice_is_none(client: Client) -> None:
    assert "banner" not in (await page(client, "/certificates?done=%3Cb%3E")).all("class")
