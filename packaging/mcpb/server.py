"""Starts the MCP server of retain; the host has installed it from pyproject.toml beside this file."""

from retain.interfaces.mcp import main

main()
