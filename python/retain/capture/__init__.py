"""Hook events become memories: parse, redact, distil."""
