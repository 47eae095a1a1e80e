"""The doors: hook, MCP server and command line. They parse, call one service, and render."""
