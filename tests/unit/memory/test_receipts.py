"""Receipts: what the model was shown is kept, and what its session did with it is found out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retain
from retain.interfaces.mcp_tools import call, tools
from retain.memory.service import MemoryService
from retain.retrieval.rank import shrunk

pytestmark = pytest.mark.anyio


async def tool(memory: MemoryService, name: str, **arguments: Any) -> str:
    async def service() -> MemoryService:
        return memory

    return await call(tools(memory.settings), name, arguments, service)


async def test_a_recall_by_the_model_leaves_a_receipt_of_ids_tokens_and_what_was_withheld(
    memory: MemoryService,
) -> None:
    await memory.remember("The cart total is rounded half to even", paths=["src/cart.py"])
    await tool(memory, "recall", query="how is the cart total rounded")
    await tool(memory, "recall", query="zebra quokka")
    account = await memory.receipts.account()
    assert (account["injections"], account["memories"], account["abstained"]) == (2, 1, 1)
    assert account["doors"]["recall"]["tokens"] == account["tokens"] > 10
    assert (account["used"], account["used_by"]) == (0, {})


async def test_a_recall_by_a_person_is_no_injection(memory: MemoryService) -> None:
    await memory.remember("The cart total is rounded half to even")
    await memory.recall("cart total")
    assert (await memory.receipts.account())["injections"] == 0


async def test_a_memory_whose_whole_text_is_asked_for_was_of_use(memory: MemoryService) -> None:
    kept = await memory.remember("The cart total is rounded half to even")
    await tool(memory, "recall", query="cart total rounded")
    await tool(memory, "get", ids=[kept.id])
    await tool(memory, "get", ids=[kept.id])
    assert (await memory.receipts.account())["used_by"] == {"read": 1}


async def test_a_memory_whose_file_is_changed_afterwards_was_of_use(
    memory: MemoryService, events: Any
) -> None:
    await memory.remember("Totals are rounded half to even", paths=["src/cart.py"])
    await memory.remember("Totals of invoices are printed in bold", paths=["src/invoice.py"])
    await tool(memory, "recall", query="totals")
    events.go_on_now()
    events.edit("src/cart.py", "round(x)", "round(x, 2)")
    await memory.drain.run()
    account = await memory.receipts.account()
    assert (account["memories"], account["used_by"]) == (2, {"file": 1})


async def test_a_change_before_the_showing_proves_nothing(memory: MemoryService, events: Any) -> None:
    await memory.remember("Totals are rounded half to even", paths=["src/cart.py"])
    events.go_on_now()
    events.edit("src/cart.py", "round(x)", "round(x, 2)")
    await tool(memory, "recall", query="totals")
    await memory.drain.run()
    assert (await memory.receipts.account())["used"] == 0


async def test_a_message_that_says_what_the_memory_says_used_it_and_words_of_the_prompt_prove_nothing(
    memory: MemoryService, events: Any
) -> None:
    await memory.remember("Rounding follows bankers convention because auditors compare quarterly ledgers")
    events.put(prompt="why does rounding follow the bankers convention here", prompt_id="p1")
    await memory.drain.run()
    await tool(memory, "recall", query="rounding bankers convention")
    events.go_on_now()
    events.put("Stop", last_assistant_message="Rounding follows the bankers convention here, as asked.")
    await memory.drain.run()
    assert (await memory.receipts.account())["used"] == 0
    events.put(
        "Stop",
        last_assistant_message="It does, because the auditors compare quarterly ledgers of each branch.",
    )
    await memory.drain.run()
    assert (await memory.receipts.account())["used_by"] == {"words": 1}


async def test_an_error_that_was_shown_and_then_mended_is_a_repeat_prevented_until_it_comes_back(
    memory: MemoryService, events: Any
) -> None:
    failure = "FAILED tests/a.py::test_x - KeyError: 'currency'"
    events.bash("pytest tests/a.py", failure, failed=True)
    await memory.drain.run()
    await tool(memory, "recall", query="KeyError currency")
    events.go_on_now()
    events.bash("pytest tests/a.py", "1 passed", failed=False)
    await memory.drain.run()
    account = await memory.receipts.account()
    assert (account["used_by"], account["prevented_repeats"]) == ({"fix": 1}, 1)
    events.bash("pytest tests/a.py", failure, failed=True, session="later")
    await memory.drain.run()
    assert (await memory.receipts.account())["prevented_repeats"] == 0


async def test_receipts_of_other_sessions_are_left_alone(
    memory: MemoryService, events: Any, folder: Path
) -> None:
    kept = await memory.remember("Totals are rounded half to even", paths=["src/cart.py"])
    async with retain.open(folder=folder, session="other") as elsewhere:
        await elsewhere.receipts.shown("prompt", [kept.id], tokens=9)
    events.go_on_now()
    events.edit("src/cart.py", "round(x)", "round(x, 2)")
    await memory.drain.run()
    assert (await memory.receipts.account())["used"] == 0


def test_feedback_of_few_showings_is_drawn_towards_what_is_usual() -> None:
    found = shrunk({1: (1, 1), 2: (40, 40), 3: (40, 0), 4: (8, 2)}, usual=(1_000, 250))
    assert 0 < found[1] < found[2] < 1
    assert -0.25 < found[3] < found[4] < found[1]
    assert abs(found[4]) < 0.01
