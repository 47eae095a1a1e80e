"""Every source of records that can be moved in, by the word after ``retain import``."""

from __future__ import annotations

from collections.abc import Mapping

from retain.capture.moving import claude_mem, json_lines, markdown, mcp_memory_service, mem0, mempalace
from retain.capture.moving.records import Format

FORMATS: Mapping[str, Format] = {
    "auto-memory": Format(default=None, open=markdown.open_auto_memory),
    "claude-md": Format(default=".", open=markdown.open_claude_md),
    "history": Format(default=None, open=json_lines.open_history),
    "claude-mem": Format(default="~/.claude-mem", open=claude_mem.open_source),
    "mcp-memory-service": Format(default="~/.local/share/mcp-memory", open=mcp_memory_service.open_source),
    "basic-memory": Format(default="~/basic-memory", open=markdown.open_basic_memory),
    "server-memory": Format(default=None, open=json_lines.open_graph),
    "mem0": Format(default=None, open=mem0.open_source),
    "mempalace": Format(default="~/.mempalace", open=mempalace.open_source),
}
