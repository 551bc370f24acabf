"""What was acknowledged is on disk: a process that stores samples is killed (SIGKILL) again and again
at random moments, and afterwards every sample it told of is in the file.

This is what a crash does. It says nothing about a power cut, which also takes what the kernel had
not written yet.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from flownexus_appliance.db.migrate import open_database

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("kill_child.py")
RUNS = 8
MOST_LINES = 400

Told = dict[tuple[str, int], tuple[float, str]]  # by endpoint and moment


def run_and_kill(path: Path, run: int, lines: int) -> Told:
    """Let the child tell of `lines` messages, kill it, and return all that it told."""
    command = [sys.executable, str(CHILD), str(path), str(run)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        try:
            told = [child.stdout.readline() for _ in range(lines)]
        finally:
            child.kill()
        told += child.stdout.readlines()
    assert child.returncode == -9, "the child ended by itself"
    found: Told = {}
    for line in told:
        endpoint, moment, temperature, text = json.loads(line)
        found[endpoint, moment] = (temperature, text)
    return found


def stored(path: Path) -> Told:
    """What is in the file, whole messages only: a message in part fails here."""
    with closing(open_database(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return {
            (endpoint, moment): (temperature(connection, endpoint, moment), text)
            for endpoint, moment, text in connection.execute(
                "SELECT e.name, r.time_ms, r.value FROM resource r JOIN series s ON s.id = r.series_id"
                " JOIN endpoint e ON e.id = s.endpoint_id WHERE s.path = '/3/0/0'"
            )
        }


def temperature(connection: sqlite3.Connection, endpoint: str, moment: int) -> float:
    (found,) = connection.execute(
        "SELECT r.value FROM resource r JOIN series s ON s.id = r.series_id"
        " JOIN endpoint e ON e.id = s.endpoint_id"
        " WHERE s.path = '/3303/0/5700' AND e.name = ? AND r.time_ms = ?",
        (endpoint, moment),
    ).fetchone()
    assert isinstance(found, float)
    return found


def test_no_acknowledged_sample_is_lost_to_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "flownexus.db"
    chance = random.Random()
    told: Told = {}
    for run in range(RUNS):
        lines = chance.randint(1, MOST_LINES)
        told |= run_and_kill(path, run, lines)
        kept = stored(path)
        lost = {key for key, values in told.items() if kept.get(key) != values}
        assert not lost, f"{len(lost)} of {len(told)} messages lost after run {run} ({lines} lines): {lost}"
    assert len(told) >= RUNS
