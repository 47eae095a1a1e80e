"""Durable storage: one SQLite file through apsw, one writer thread, a pool of readers."""
