"""Numbered migrations: one SQL file each, applied in order inside one transaction.

The version of the schema stands in ``PRAGMA user_version``. A store made by a newer retain is refused.
"""

from __future__ import annotations

from importlib import resources

import apsw

from retain.errors import StoreUnusable
from retain.storage.audit import BY_UPGRADE, attach

MIGRATIONS = (
    "0001_initial.sql",
    "0002_vectors.sql",
    "0003_receipts.sql",
    "0004_imports.sql",
    "0005_audit.sql",
    "0006_spaces.sql",
    "0007_controls.sql",
    "0008_git.sql",
    "0009_trust.sql",
    "0010_claims.sql",
)
VERSION = len(MIGRATIONS)


def current_version(connection: apsw.Connection) -> int:
    """The schema version of an open store; 0 where it is new."""
    return int(connection.pragma("user_version"))


def check_version(version: int) -> None:
    """Refuses a store whose schema is newer than this code.

    Raises:
        StoreUnusable: made by a newer retain.
    """
    if version > VERSION:
        raise StoreUnusable(
            f"the store has schema version {version}, this retain knows up to {VERSION}",
            hint="upgrade retain: pip install --upgrade retain",
        )


def migrate(connection: apsw.Connection) -> int:
    """Brings the schema up to date inside the caller's transaction; returns how many steps were taken."""
    version = current_version(connection)
    check_version(version)
    attach(connection, lambda: BY_UPGRADE)
    for number, name in enumerate(MIGRATIONS[version:], start=version + 1):
        sql = resources.files(__name__).joinpath(name).read_text(encoding="utf-8")
        connection.execute(sql)
        connection.pragma("user_version", number)
    return VERSION - version
