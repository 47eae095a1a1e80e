#!/usr/bin/env bash
# Installs the peers that `retain bench` can ask without a model, here in benches/peers/node_modules (npm and,
# for memory-keeper, a C++ compiler are needed). Then: retain bench run SET --contestant retain,benches/peers/server-memory.json
set -euo pipefail
cd "$(dirname "$0")"
npm install --no-save --no-audit --no-fund @modelcontextprotocol/server-memory@2026.8.31 mcp-memory-keeper@0.14.1
npm rebuild better-sqlite3 --foreground-scripts
