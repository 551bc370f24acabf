"""SQLite: schema and migrations, one writer with group commit, read-only readers.

The only package that knows SQL. `Store` writes, `Reader` reads; both speak the core's types.
"""
