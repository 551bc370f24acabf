"""Credentials in the file: the last ones of each name, their keys only while they are good for something."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.db import writer as writer_module
from flownexus_appliance.db.credentials import (
    ENDED_KEPT,
    Credential,
    CredentialOrigin,
    CredentialState,
    Proof,
    ProofKind,
    identity_text,
)
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.store import Store
from tests.box import Rows
from tests.peer import until

from .test_reads import registration
from .test_store import describe

SECRET = bytes(range(16))
FINGERPRINT = bytes(range(200, 232))


def psk(number: int, endpoint: str = "one", **more: Any) -> Credential:
    return replace(
        Credential(
            id=number,
            endpoint=endpoint,
            proof=Proof(ProofKind.PSK, f"{endpoint} {number}".encode()),
            state=CredentialState.ACTIVE,
            origin=CredentialOrigin.OPERATOR,
            made_ms=1000 + number,
            secret=SECRET,
        ),
        **more,
    )


def certificate(number: int, endpoint: str = "one", **more: Any) -> Credential:
    return psk(
        number,
        endpoint,
        proof=Proof(ProofKind.CERTIFICATE, FINGERPRINT),
        secret=b"",
        certificate=b"DER",
        serial=2**159 - 1,
        not_after_ms=2_000_000_000_000,
        **more,
    )


class Box:
    def __init__(self, path: Path) -> None:
        self.store, self.rows = Store(path, describe), Rows(path)

    async def start(self) -> None:
        self.reader = Reader(self.store.path)
        self.kept = await self.store.start()
        await self.reader.start()

    async def stop(self) -> None:
        await self.reader.stop()
        await self.store.stop()

    async def put(self, *credentials: Credential) -> None:
        for credential in credentials:
            self.store.put_credential(credential)
        await self.store.commit()

    async def reopened(self) -> tuple[Credential, ...]:
        await self.stop()
        await self.start()
        return self.kept.credentials


@pytest.fixture
async def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Box]:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.001)
    box = Box(tmp_path / "test.db")
    await box.start()
    yield box
    await box.stop()


async def test_credentials_come_back_as_they_were(box: Box) -> None:
    credentials = (
        psk(1),
        certificate(2, state=CredentialState.OFFERED, origin=CredentialOrigin.BOOTSTRAP),
        psk(3, "two", label="the one on the roof", first_used_ms=5, last_used_ms=6),
        psk(4, proof=Proof(ProofKind.PSK, bytes(128)), origin=CredentialOrigin.ENROLMENT),
    )
    await box.put(*credentials)
    assert await box.reopened() == credentials


async def test_of_one_that_ended_the_key_is_wiped_and_the_row_stays(box: Box) -> None:
    await box.put(psk(1), psk(2))
    await box.put(psk(1, state=CredentialState.REVOKED, ended_ms=77))
    await box.put(psk(2, state=CredentialState.REPLACED, ended_ms=78))
    assert await box.reopened() == ()
    rows = box.rows("SELECT id, secret, state, ended_ms FROM credential ORDER BY id")
    assert rows == [(1, b"", "revoked", 77), (2, b"", "replaced", 78)]


async def test_of_those_that_ended_the_last_of_each_name_stay(box: Box) -> None:
    """A device that bootstraps at each start ends one each time."""
    await box.put(psk(1), psk(2, "two", state=CredentialState.REVOKED, ended_ms=1))
    for number in range(3, ENDED_KEPT + 13):
        await box.put(psk(number, state=CredentialState.REPLACED, ended_ms=number))
    ended = box.rows("SELECT id FROM credential WHERE endpoint = 'one' AND state = 'replaced' ORDER BY id")
    assert ended == [(number,) for number in range(13, ENDED_KEPT + 13)]
    assert box.rows("SELECT id FROM credential WHERE id < 3 ORDER BY id") == [(1,), (2,)]


async def test_what_became_of_one_is_written_over_it(box: Box) -> None:
    await box.put(psk(1, state=CredentialState.OFFERED))
    used = psk(1, first_used_ms=5, last_used_ms=6)
    await box.put(used)
    assert await box.reopened() == (used,)


async def test_a_proof_stands_for_one_credential_that_is_good(box: Box) -> None:
    await box.put(psk(1))
    with pytest.raises(StoreError):
        await box.put(psk(2, "two", proof=psk(1).proof))


async def test_the_proof_of_one_that_ended_can_be_had_again(box: Box) -> None:
    again = psk(2, "two", proof=psk(1).proof)
    await box.put(psk(1))
    await box.put(psk(1, state=CredentialState.REVOKED), again)
    assert await box.reopened() == (again,)


async def test_uses_are_written_down_by_one_statement(box: Box) -> None:
    credentials = [psk(number, first_used_ms=1) for number in range(1, 51)]
    await box.put(*credentials)
    box.store.put_credential_uses({number: 9000 + number for number in range(1, 50, 2)} | {999: 1})
    assert len(box.store.writer.gather()) == 1
    await box.store.commit()
    assert [c.last_used_ms for c in await box.reopened()] == [
        9000 + number if number % 2 else 0 for number in range(1, 51)
    ]


async def test_no_uses_are_nothing_to_write(box: Box) -> None:
    box.store.put_credential_uses({})
    assert len(box.store.writer.gather()) == 0


async def test_ids_are_never_given_twice(box: Box) -> None:
    assert [box.store.new_credential_id() for _ in range(3)] == [1, 2, 3]
    await box.put(psk(7))
    await box.put(psk(7, state=CredentialState.REVOKED))
    await box.reopened()
    assert box.store.new_credential_id() == 8


# Endpoints that were never seen


async def test_a_credential_lists_a_device_that_was_never_seen(box: Box) -> None:
    await box.put(psk(1))
    row = await box.reader.endpoint("one")
    assert row is not None
    assert (row.seen, row.first_seen_ms, row.last_seen_ms, row.registration) == (False, 0, 0, None)
    await box.reopened()
    assert box.kept.heard_ms == {"one": 0}


async def test_its_first_word_makes_it_seen(box: Box) -> None:
    await box.put(psk(1), psk(2, "two"), psk(3, "three"))
    box.store.put_registration(registration("one"))
    box.store.add_samples("two", [], 4000)
    box.store.put_heard({"three": 5000})
    await box.store.commit()
    rows = {row.endpoint: row for row in await box.reader.endpoints(["one", "two", "three"])}
    assert all(row.seen for row in rows.values())
    one = registration("one")
    assert (rows["one"].first_seen_ms, rows["one"].last_seen_ms) == (one.registered_ms, one.updated_ms)
    assert (rows["two"].first_seen_ms, rows["three"].first_seen_ms) == (4000, 5000)
    box.store.put_heard({"three": 6000})
    await box.store.commit()
    again = await box.reader.endpoint("three")
    assert again is not None
    assert (again.first_seen_ms, again.last_seen_ms) == (5000, 6000)


async def test_who_was_never_seen_can_be_forgotten_and_who_was_cannot(box: Box) -> None:
    box.store.put_heard({"nobody": 1})
    await box.put(psk(1), psk(2, "two"))
    box.store.put_heard({"two": 1})
    for endpoint in ("one", "two", "nobody"):
        box.store.remove_unseen(endpoint)
    await box.store.commit()
    assert sorted(one.endpoint for one in await box.reader.listed()) == ["two"]
    await box.put(psk(3))
    assert sorted(one.endpoint for one in await box.reader.listed()) == ["one", "two"]
    box.store.remove_unseen("one")
    box.store.add_samples("one", [], 4000)
    box.store.put_heard({"one": 5000})
    await box.store.commit()
    row = await box.reader.endpoint("one")
    assert row is not None
    assert (row.first_seen_ms, row.last_seen_ms) == (4000, 5000)


async def test_a_failed_commit_forgets_nobody(box: Box) -> None:
    await box.put(psk(1))
    box.store.remove_unseen("one")
    box.store.put_credential(psk(2, proof=psk(1).proof))
    with pytest.raises(StoreError):
        await box.store.commit()
    await until(lambda: not box.store.writer._broken)
    assert sorted(one.endpoint for one in await box.reader.listed()) == ["one"]
    box.store.remove_unseen("one")
    await box.store.commit()
    assert sorted(one.endpoint for one in await box.reader.listed()) == []


# What is shown


async def test_what_is_shown_has_no_key(box: Box) -> None:
    await box.put(psk(1, label="roof"), certificate(2), psk(3, "two"), psk(4, state=CredentialState.REVOKED))
    shown = await box.reader.credentials("one")
    assert [row.id for row in shown] == [4, 2, 1]
    assert (shown[2].kind, shown[2].identity, shown[2].serial, shown[2].label) == (
        "psk", "one 1", "", "roof",
    )  # fmt: skip
    assert (shown[1].kind, shown[1].identity, shown[1].serial) == (
        "certificate", FINGERPRINT.hex(), "7" + "f" * 39,
    )  # fmt: skip
    assert shown[0].state == "revoked"
    assert not any("secret" in field for field in shown[0].__slots__)
    assert await box.reader.credentials("nobody") == []


async def test_everybodys_credentials_come_page_by_page(box: Box) -> None:
    await box.put(*(psk(number, f"device {number}") for number in range(1, 26)))
    seen: list[int] = []
    before: int | None = None
    while page := await box.reader.all_credentials(before, 10):
        assert len(page) <= 10
        seen += [row.id for row in page]
        before = page[-1].id
    assert seen == list(range(25, 0, -1))


@pytest.mark.parametrize(
    ("identity", "text"),
    [(b"one", "one"), ("zürich".encode(), "zürich"), (b"\xff\x00", "ff00"), (b"a\nb", "610a62"), (b"", "")],
)
def test_an_identity_for_people(identity: bytes, text: str) -> None:
    assert identity_text(identity) == text


@pytest.mark.parametrize("credential", [psk(1), certificate(1)])
def test_a_credential_shows_no_key(credential: Credential) -> None:
    assert "secret" not in repr(credential)
    assert repr(SECRET) not in repr(credential)


# Bootstrap configurations


async def test_bootstrap_configurations_come_back(box: Box) -> None:
    box.store.put_bootstrap_config("", '{"a": 1}')
    box.store.put_bootstrap_config("one", '{"b": 2}')
    box.store.put_bootstrap_config("two", "{}")
    box.store.put_bootstrap_config("one", '{"b": 3}')
    box.store.put_bootstrap_config("two", None)
    box.store.put_bootstrap_config("three", None)
    await box.store.commit()
    await box.reopened()
    assert box.kept.bootstrap_configs == {"": '{"a": 1}', "one": '{"b": 3}'}
