#!/usr/bin/env bash
# Installs the peers of this folder into DIR (here without one):   benches/peers/install.sh [DIR]
# Then: retain bench run SET --contestant retain,benches/peers/server-memory.json
#       python benches/peer_servers.py --repo PATH --root DIR
# Needed: npm and a C++ compiler (memory-keeper), PYTHON 3.12 or newer whose sqlite3 loads extensions (memory-service).
# basic-memory runs without its vectors. mempalace and mcp-memory-service-lite embed with MiniLM, which they download at
# their first call; without a network put model.onnx (hidden state as output) and tokenizer.json in place before:
#   DIR/cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx and DIR/cache/mcp_memory/onnx_models/all-MiniLM-L6-v2/onnx
set -euo pipefail
cd "${1:-$(dirname "$0")}"
npm install --no-save --no-audit --no-fund @modelcontextprotocol/server-memory@2026.8.31 mcp-memory-keeper@0.14.1
npm rebuild better-sqlite3 --foreground-scripts
for peer in 'basic-memory==0.19.2' 'mempalace==3.11.0' 'mcp-memory-service-lite==12.3.0'; do
    "${PYTHON:-python3}" -m venv "${peer%%==*}"
    "${peer%%==*}/bin/pip" install "$peer"
done
