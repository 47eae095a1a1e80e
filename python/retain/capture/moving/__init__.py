"""Memories of other tools: one module a tool, each a reader that loses no record."""
