"""The clients that retain can be put into: which file each reads its MCP servers from, and in which shape.

The places are those that each client documents for Linux and macOS. Hooks are a matter of Claude Code alone;
the others get the MCP server, so they recall and remember when their model asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retain.config import client_files, codex_directory, on_macos, project_directory, user_directory
from retain.errors import InvalidInput
from retain.interfaces.client_files import JSON, JSON_WITH_COMMENTS, TOML

CLAUDE_CODE = "claude-code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """One client.

    Attributes:
        title: its name for people.
        linux: its file below the user's home directory; ``macos`` where that differs there.
        project: its file below a project; empty where it has none.
        form: what the file is written in.
        group: the key under which the servers stand.
        typed: whether an entry names its transport.
    """

    title: str
    linux: str
    macos: str = ""
    project: str = ""
    form: str = JSON
    group: str = "mcpServers"
    typed: bool = False

    def shaped(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """An MCP entry as this client reads it."""
        return {key: value for key, value in entry.items() if key != "type" or self.typed}


CLIENTS: Mapping[str, Client] = {
    CLAUDE_CODE: Client(title="Claude Code", linux=".claude.json", project=".mcp.json", typed=True),
    "claude-desktop": Client(
        title="Claude Desktop",
        linux=".config/Claude/claude_desktop_config.json",
        macos="Library/Application Support/Claude/claude_desktop_config.json",
    ),
    "cursor": Client(
        title="Cursor", linux=".cursor/mcp.json", project=".cursor/mcp.json", form=JSON_WITH_COMMENTS
    ),
    "windsurf": Client(title="Windsurf", linux=".codeium/windsurf/mcp_config.json"),
    "vscode": Client(
        title="VS Code",
        linux=".config/Code/User/mcp.json",
        macos="Library/Application Support/Code/User/mcp.json",
        project=".vscode/mcp.json",
        form=JSON_WITH_COMMENTS,
        group="servers",
        typed=True,
    ),
    "codex": Client(
        title="Codex",
        linux=".codex/config.toml",
        project=".codex/config.toml",
        form=TOML,
        group="mcp_servers",
    ),
    "gemini": Client(
        title="Gemini CLI",
        linux=".gemini/settings.json",
        project=".gemini/settings.json",
        form=JSON_WITH_COMMENTS,
    ),
}


def servers_file(name: str, scope: str) -> Path:
    """Where a client reads its MCP servers.

    Raises:
        InvalidInput: the client has no file of that scope, or there is no home directory.
    """
    client = CLIENTS[name]
    if scope == "project":
        if not client.project:
            raise InvalidInput("scope", f"{client.title} has no file of a project; use --scope user")
        return project_directory() / client.project
    if name == CLAUDE_CODE:
        return client_files()[1]
    if name == "codex":
        return codex_directory() / "config.toml"
    return user_directory() / (client.macos if client.macos and on_macos() else client.linux)


def hooks_file(scope: str) -> Path:
    """Where Claude Code reads hooks; of a project, the file that is not shared, for they name this machine."""
    if scope == "project":
        return project_directory() / ".claude" / "settings.local.json"
    return client_files()[0]
