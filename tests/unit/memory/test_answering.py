"""What is done beside the answers ends with the service."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw
import pytest

import retain
from retain.errors import StoreError
from retain.storage.reads import Reader

pytestmark = pytest.mark.anyio

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


async def test_a_service_that_is_closed_has_no_connection_left_that_still_reads(home: Path) -> None:
    began = threading.Event()

    def read(reader: Reader) -> None:
        began.set()
        reader.connection.execute(ENDLESS).fetchall()

    async with retain.open(home) as memory:

        async def look() -> None:
            with pytest.raises(StoreError):
                await memory._store.read(read)

        memory._answering._run_in_background(look)
        await asyncio.to_thread(began.wait)
    assert [one.filename for one in apsw.connections() if one.filename.startswith(str(home))] == []
