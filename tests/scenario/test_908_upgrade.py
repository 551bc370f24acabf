"""A state folder of the version before: taken up, with what devices rest on, and closed to other users."""

import json
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from tests.interop.daemon import Daemon, running
from tests.peer import ACK

from .thermometer import TEMPERATURE, ready, secure_thermometer, senml, thermometer

SCHEMA_1: Final = Path(__file__).parents[1] / "vectors" / "schema" / "0001.sql"
APPLICATION_ID: Final = 0x464E5841
OBJECTS: Final = {str(number): {"version": "", "instances": [0]} for number in (1, 3, 3303)}
TOKEN: Final = b"observed"
REGISTRATION: Final = "abcdefghij"
PRIVATE: Final = 0o600


def make_state(state: Path, address: str) -> None:
    """The database of a box with one device, registered over plain CoAP at an address and observed."""
    now_ms = int(time.time() * 1000)
    with closing(sqlite3.connect(state / "flownexus.db")) as connection, connection:
        connection.executescript(SCHEMA_1.read_text())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO endpoint VALUES (1, 'old', 'roof', ?, ?)", (now_ms - 1, now_ms))
        connection.execute(
            "INSERT INTO registration VALUES (?, 1, ?, '1.1', 300, 'U', 0, '/', ?, '[112]', '{}', 7, x'01',"
            " ?, ?, ?)",
            (REGISTRATION, address, json.dumps(OBJECTS), now_ms, now_ms, now_ms + 300_000),
        )
        connection.execute(
            "INSERT INTO observation VALUES (?, 1, ?, 112, ?)", (TOKEN, json.dumps([TEMPERATURE]), now_ms)
        )
        connection.execute("INSERT INTO resource_type VALUES (1, 3303, 5700, 'Sensor Value', 'float', 'Cel')")
        connection.execute("INSERT INTO series VALUES (1, 1, 1, ?, 'float')", (TEMPERATURE,))
        connection.execute("INSERT INTO resource VALUES (1, ?, 21.5)", (now_ms - 1000,))
    (state / "flownexus.db").chmod(0o644)


async def test_a_state_folder_of_the_first_schema(tmp_path: Path) -> None:
    """Its device goes on; once it has a credential it comes over DTLS and keeps its history."""
    daemon = Daemon(tmp_path)
    daemon.state.mkdir()
    async with thermometer(daemon.coap_port, "old") as client:
        make_state(daemon.state, client.peer.address)
        daemon.start()
        try:
            client.location = f"/rd/{REGISTRATION}"
            client.peer.notify(TOKEN, 2, senml({TEMPERATURE: 22.0}))
            assert (await client.reply()).kind == ACK
            assert (await client.update()).status == "2.04"
            assert daemon.store.values("old", TEMPERATURE) == [21.5, 22.0]
            registration = daemon.store.registration("old")
            assert registration is not None
            assert (registration["id"], registration["session"]) == (REGISTRATION, "")
            credential = daemon.give_psk("old")
            async with secure_thermometer(daemon.coaps_port, "old", credential) as secure:
                await ready(daemon, secure)
                assert (await secure.send({TEMPERATURE: 23.0})).status == "2.04"
            assert daemon.store.values("old", TEMPERATURE) == [21.5, 22.0, 21.5, 23.0]
            assert daemon.endpoint("old")["label"] == "roof"
            assert modes(daemon.state, "flownexus.db*") == {
                "flownexus.db": PRIVATE,
                "flownexus.db-shm": PRIVATE,
                "flownexus.db-wal": PRIVATE,
                "flownexus.db.schema-1": PRIVATE,
            }
            with closing(sqlite3.connect(daemon.state / "flownexus.db.schema-1")) as copy:
                assert copy.execute("PRAGMA user_version").fetchone() == (1,)
                assert copy.execute("SELECT id FROM registration").fetchall() == [(REGISTRATION,)]
            daemon.stop()
        finally:
            daemon.program.end()


async def test_what_holds_keys_is_for_its_owner_alone(tmp_path: Path) -> None:
    """The database and what SQLite puts beside it, the private keys, the control socket."""
    with running(tmp_path) as daemon:
        daemon.give_psk("sensor")
        found = modes(daemon.state, "*") | modes(daemon.state / "pki", "*.key")
        closed = {name for name, mode in found.items() if mode == PRIVATE}
        keys = {name for name in found if name.endswith(".key")}
        assert len(keys) >= 3, "of the root, DTLS and HTTPS"
        assert closed >= {"flownexus.db", "flownexus.db-shm", "flownexus.db-wal", "control.sock"} | keys


def modes(folder: Path, pattern: str) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in folder.glob(pattern)}
