"""The memory service: remember, recall, revise, forget, and the drain of the spool."""
