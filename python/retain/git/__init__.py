"""What git knows: where a repository is, which branch and commit are checked out, what its identity is."""
