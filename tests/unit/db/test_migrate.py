"""Opening the file: made from nothing, brought up to date, or left alone and refused."""

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from flownexus_appliance.db import migrate
from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate, KeptFirmware
from flownexus_appliance.db.migrate import APPLICATION_ID, StoreError, open_database, schema_files
from flownexus_appliance.db.store import ResourceType, Store

RELEASED = Path(__file__).parents[2] / "vectors" / "schema"
STEPS = schema_files()
NEWEST = STEPS[-1][0]
NAME = "flownexus.db"


def schema(connection: sqlite3.Connection) -> str:
    """The schema as a script, without the comments and line breaks of its source."""
    statements = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'index', name"
    )
    return "".join(re.sub(r"\s+", " ", re.sub(r"--.*", "", sql)) + ";\n" for (sql,) in statements)


def pragma(connection: sqlite3.Connection, name: str) -> object:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def make(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


def refused(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        open_database(path)
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value.code


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / NAME


@pytest.fixture
def ours(path: Path) -> Path:
    """A database of this program with an endpoint in it."""
    with closing(open_database(path)) as connection:
        connection.execute(
            "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (1, 'a', 1, 2)"
        )
    return path


# One row in each table of schema 1.
ROWS_1 = """
    INSERT INTO endpoint VALUES (1, 'a', 'roof', 1, 2);
    INSERT INTO registration VALUES ('id', 1, '192.0.2.1:5683', '1.1', 60, 'U', 1, '/',
        '{"3": {"version": "1.1", "instances": [0]}}', '[112]', '{}', 7, x'0102', 1, 2, 60002);
    INSERT INTO resource_type VALUES (1, 3303, 5700, 'Sensor Value', 'float', 'Cel');
    INSERT INTO series VALUES (1, 1, 1, '/3303/0/5700', 'float');
    INSERT INTO resource VALUES (1, 1000, 21.5);
    INSERT INTO observation VALUES (x'746f6b656e', 1, '["/3303/0/5700"]', 112, 5);
    INSERT INTO setting VALUES ('x', 'y');
"""
# And in each of schema 2: observations of one path and of several.
ROWS_2 = """
    INSERT INTO endpoint VALUES (1, 'a', 'roof', 1, 2), (2, 'b', '', 0, 0);
    INSERT INTO registration VALUES ('id', 1, '192.0.2.1:5683', '1.1', 60, 'U', 1, '/',
        '{"3": {"version": "1.1", "instances": [0]}}', '[112]', '{}', 7, x'0102', 1, 2, 60002, 'dtls-73');
    INSERT INTO resource_type VALUES (1, 3303, 5700, 'Sensor Value', 'float', 'Cel');
    INSERT INTO series VALUES (1, 1, 1, '/3303/0/5700', 'float');
    INSERT INTO resource VALUES (1, 1000, 21.5);
    INSERT INTO observation VALUES
        (x'6f6e65', 1, '["/3303/0/5700"]', 112, 5), (x'74776f', 1, '["/3303/0", "/3/0/9"]', 110, 6);
    INSERT INTO bootstrap_config VALUES ('b', '{}');
    INSERT INTO credential VALUES
        (4, 'b', 'psk', x'62', x'0102', x'', '1f', 0, 'active', 'operator', '', 1, 0, 0, 0);
    INSERT INTO dtls_session VALUES (x'73', 'psk', x'62', x'00', x'', 1);
    INSERT INTO dtls_counter VALUES (x'73', x'00', '192.0.2.1:5683', 9);
    INSERT INTO setting VALUES ('x', 'y');
"""

# Of schema 5, rows in what schema 6 refers to.
ROWS_5 = """
    INSERT INTO endpoint (id, name, label, first_seen_ms, last_seen_ms) VALUES
        (1, 'a', 'roof', 1, 2), (2, 'b', '', 0, 0);
    INSERT INTO endpoint_operation VALUES
        (7, 1, 'read', '{"paths": ["/3"]}', 'QUEUED', 0, 'web', 0, 1, 0, 1, '', '', '', '');
    INSERT INTO operation_attempt VALUES (7, 1, 1, 2, '2.05', '');
    INSERT INTO endpoint_tag VALUES (1, 'roof');
    INSERT INTO setting VALUES ('x', 'y');
"""

# From nothing


def test_a_database_is_made_with_its_folder(path: Path) -> None:
    with closing(open_database(path)) as connection:
        assert pragma(connection, "user_version") == NEWEST
        assert pragma(connection, "application_id") == APPLICATION_ID
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "synchronous") == 2  # FULL
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "integrity_check") == "ok"
    assert [entry.name for entry in path.parent.iterdir()] == [NAME]
    assert path.parent.stat().st_mode & 0o007 == 0


def test_an_empty_file_is_nothing_too(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with closing(open_database(path)) as connection:
        assert pragma(connection, "user_version") == NEWEST


def test_every_table_is_strict(path: Path) -> None:
    with closing(open_database(path)) as connection:
        loose = connection.execute("SELECT name FROM pragma_table_list WHERE NOT strict").fetchall()
    assert {name for (name,) in loose} <= {"sqlite_schema", "sqlite_temp_schema"}


def test_steps_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in STEPS] == list(range(1, NEWEST + 1))


# What was released stays as it was


def test_every_released_schema_is_kept() -> None:
    kept = sorted(int(entry.stem) for entry in RELEASED.glob("*.sql"))
    assert kept == [number for number, _ in STEPS]


@pytest.mark.parametrize("number", [number for number, _ in STEPS])
def test_a_released_schema_never_changes(number: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "schema_files", lambda: STEPS[:number])
    with closing(open_database(path)) as connection:
        assert schema(connection) == (RELEASED / f"{number:04}.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [number for number, _ in STEPS])
def test_every_released_schema_migrates_to_the_newest(number: int, path: Path) -> None:
    path.parent.mkdir()
    released = (RELEASED / f"{number:04}.sql").read_text(encoding="utf-8")
    make(path, f"{released} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number};")
    with closing(open_database(path)) as connection:
        assert schema(connection) == (RELEASED / f"{NEWEST:04}.sql").read_text(encoding="utf-8")
        assert pragma(connection, "user_version") == NEWEST


# From an older one

LABELS = "ALTER TABLE endpoint ADD COLUMN colour TEXT NOT NULL DEFAULT 'grey';"
BROKEN = "CREATE TABLE half (id INTEGER) STRICT; INSERT INTO nosuch VALUES (1);"


def test_a_copy_is_made_before_anything_is_changed(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "schema_files", lambda: [*STEPS, (NEWEST + 1, LABELS)])
    with closing(open_database(ours)) as connection:
        assert pragma(connection, "user_version") == NEWEST + 1
        assert connection.execute("SELECT name, colour FROM endpoint").fetchall() == [("a", "grey")]
    with closing(sqlite3.connect(ours.with_name(f"{NAME}.schema-{NEWEST}"))) as copy:
        assert pragma(copy, "user_version") == NEWEST
        assert pragma(copy, "application_id") == APPLICATION_ID
        assert pragma(copy, "integrity_check") == "ok"
        rows = copy.execute("SELECT id, name, label, first_seen_ms, last_seen_ms FROM endpoint").fetchall()
        assert rows == [(1, "a", "", 1, 2)]
        assert schema(copy) == (RELEASED / f"{NEWEST:04}.sql").read_text(encoding="utf-8")


def test_a_copy_left_by_an_earlier_attempt_is_replaced(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = ours.with_name(f"{NAME}.schema-{NEWEST}")
    make(copy, "CREATE TABLE endpoint (old TEXT); INSERT INTO endpoint VALUES ('stale');")
    monkeypatch.setattr(migrate, "schema_files", lambda: [*STEPS, (NEWEST + 1, LABELS)])
    open_database(ours).close()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT name FROM endpoint").fetchall() == [("a",)]


def test_a_database_that_is_up_to_date_is_not_copied(ours: Path) -> None:
    open_database(ours).close()
    assert [entry.name for entry in ours.parent.iterdir()] == [NAME]


def test_a_step_that_fails_leaves_the_step_before(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [*STEPS, (NEWEST + 1, LABELS), (NEWEST + 2, BROKEN)]
    monkeypatch.setattr(migrate, "schema_files", lambda: steps)
    assert refused(ours) == "database_unreadable"
    with closing(sqlite3.connect(ours)) as connection:
        assert pragma(connection, "user_version") == NEWEST + 1
        assert "half" not in schema(connection)
        assert connection.execute("SELECT colour FROM endpoint").fetchall() == [("grey",)]
    monkeypatch.setattr(migrate, "schema_files", lambda: [*steps[:-1], (NEWEST + 2, "DROP TABLE setting;")])
    with closing(open_database(ours)) as connection:
        assert pragma(connection, "user_version") == NEWEST + 2


async def test_what_schema_1_held_is_there_in_the_newest(path: Path) -> None:
    """With rows in every table, as a daemon of then left them."""
    path.parent.mkdir()
    released = (RELEASED / "0001.sql").read_text(encoding="utf-8")
    make(path, f"{released} {ROWS_1} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    store = Store(path, lambda _path, data_type: ResourceType("", data_type, ""))
    kept = await store.start()
    await store.stop()
    (registration,) = kept.registrations
    assert (registration.endpoint, registration.id, registration.address) == ("a", "id", "192.0.2.1:5683")
    assert (registration.session, registration.peer) == ("", "192.0.2.1:5683")
    assert [observation.token for observation in kept.observations] == [b"token"]
    assert kept.heard_ms == {"a": 2}
    assert (kept.credentials, kept.sessions, kept.bootstrap_configs) == ((), (), {})
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM resource").fetchall() == [(1, 1000, 21.5)]
        assert connection.execute("SELECT * FROM setting").fetchall() == [("x", "y")]
        assert pragma(connection, "integrity_check") == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_what_schema_2_held_is_there_in_the_newest(path: Path) -> None:
    path.parent.mkdir()
    released = (RELEASED / "0002.sql").read_text(encoding="utf-8")
    make(path, f"{released} {ROWS_2} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 2;")
    store = Store(path, lambda _path, data_type: ResourceType("", data_type, ""))
    kept = await store.start()
    assert {o.token: (o.composite, str(o.base), o.content_format) for o in kept.observations} == {
        b"one": (False, "/3303/0/5700", 112),
        b"two": (True, "/", 110),
    }
    assert kept.heard_ms == {"a": 2, "b": 0}
    assert (len(kept.registrations), len(kept.credentials), len(kept.sessions)) == (1, 1, 1)
    assert kept.bootstrap_configs == {"b": "{}"}
    # What came with schema 3 is there, and empty.
    assert (kept.operations, kept.wanted_observations, kept.wanted_attributes) == ((), (), ())
    assert kept.awake_windows_s == {}
    assert store.new_operation_id() == 1
    store.put_awake_window("a", 20.0)
    await store.commit()
    await store.stop()
    kept = await store.start()
    await store.stop()
    assert kept.awake_windows_s == {"a": 20.0}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM resource").fetchall() == [(1, 1000, 21.5)]
        assert pragma(connection, "integrity_check") == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


async def test_what_schema_5_held_is_there_in_the_newest(path: Path) -> None:
    path.parent.mkdir()
    released = (RELEASED / "0005.sql").read_text(encoding="utf-8")
    make(path, f"{released} {ROWS_5} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 5;")
    store = Store(path, lambda _path, data_type: ResourceType("", data_type, ""))
    kept = await store.start()
    assert (kept.heard_ms, [one.id for one in kept.operations]) == ({"a": 2, "b": 0}, [7])
    # What came with schema 6 is there, and empty.
    assert kept.firmware == KeptFirmware()
    assert (store.new_firmware_id(), store.new_update_id(), store.new_campaign_id()) == (1, 1, 1)
    store.put_firmware(Firmware(1, "1.0", "app.bin", 9, bytes(32), "web", 1))
    store.put_update(FirmwareUpdate(1, "a", 1, "ticket", "web", 1, 1))
    await store.commit()
    await store.stop()
    kept = await store.start()
    await store.stop()
    assert [(update.id, update.endpoint) for update in kept.firmware.updates] == [(1, "a")]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM setting").fetchall() == [("x", "y")]
        assert connection.execute("SELECT * FROM endpoint_tag").fetchall() == [(1, "roof")]
        assert pragma(connection, "integrity_check") == "ok"
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


# Keys lie in it


def modes(folder: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_mode & 0o777 for entry in folder.iterdir()}


def test_what_is_made_is_for_its_owner_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_the_first: dict[str, int] = {}
    looks = migrate.refuse_unknown

    def look(connection: sqlite3.Connection, name: Path) -> None:
        from_the_first.update(modes(path.parent))
        looks(connection, name)

    monkeypatch.setattr(migrate, "refuse_unknown", look)
    before = os.umask(0)
    try:
        with closing(open_database(path)) as connection:
            connection.execute("INSERT INTO setting VALUES ('x', 'y')")
            assert modes(path.parent) == dict.fromkeys([NAME, f"{NAME}-wal", f"{NAME}-shm"], 0o600)
    finally:
        os.umask(before)
    assert modes(path.parent) == from_the_first == {NAME: 0o600}


def test_a_file_that_others_could_read_is_closed_to_them_before_keys_come(path: Path) -> None:
    """Schema 1 held none, and what its daemon left behind when it was killed may be there too."""
    path.parent.mkdir()
    released = (RELEASED / "0001.sql").read_text(encoding="utf-8")
    make(path, f"{released} PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1;")
    with closing(sqlite3.connect(path)) as killed:
        killed.execute("PRAGMA journal_mode = WAL").fetchall()
        killed.execute("INSERT INTO setting VALUES ('x', 'y')")
        killed.commit()
        for entry in path.parent.iterdir():
            entry.chmod(0o644)
        copy = path.with_name(f"{NAME}.schema-1")
        copy.touch(0o644)
        with closing(open_database(path)):
            names = [NAME, f"{NAME}-wal", f"{NAME}-shm", copy.name]
            assert modes(path.parent) == dict.fromkeys(names, 0o600)


def test_what_is_deleted_is_overwritten(path: Path) -> None:
    with closing(open_database(path)) as connection:
        assert pragma(connection, "secure_delete") == 1
        connection.execute("INSERT INTO setting VALUES ('key', 'correct horse battery staple')")
        connection.execute("DELETE FROM setting")
    assert b"battery" not in path.read_bytes()


# What is not ours, or not yet


def test_a_newer_database_is_refused_and_left_as_it_was(ours: Path) -> None:
    make(ours, f"PRAGMA user_version = {NEWEST + 1};")
    before = ours.read_bytes()
    assert refused(ours) == "database_newer"
    assert ours.read_bytes() == before


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE cat (name TEXT);",
        "CREATE TABLE cat (name TEXT); PRAGMA application_id = 1;",
        "PRAGMA application_id = 1;",
        f"CREATE TABLE cat (name TEXT); PRAGMA user_version = {NEWEST};",
        f"PRAGMA user_version = {NEWEST};",
        "PRAGMA user_version = 99;",
    ],
)
def test_a_foreign_database_is_refused_and_left_as_it_was(script: str, path: Path) -> None:
    path.parent.mkdir()
    make(path, script)
    path.chmod(0o644)
    before = path.read_bytes()
    assert refused(path) == "database_foreign"
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == [NAME]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"Dear diary, " * 1000)
    assert refused(path) == "database_unreadable"
    assert path.read_bytes() == b"Dear diary, " * 1000


def test_a_damaged_database_is_refused(ours: Path) -> None:
    whole = ours.read_bytes()
    ours.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    assert refused(ours) == "database_unreadable"


def test_a_place_that_cannot_hold_a_file_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    assert refused(folder) == "database_unreadable"
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file" / NAME) == "database_unreadable"
