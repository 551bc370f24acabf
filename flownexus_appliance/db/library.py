"""The SQLite that the database is kept by."""

import sqlite3
from typing import Final

SQLITE_VERSION: Final = sqlite3.sqlite_version
