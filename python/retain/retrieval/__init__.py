"""Recall: plan, search, rank, and fit the answer into a budget of tokens."""
