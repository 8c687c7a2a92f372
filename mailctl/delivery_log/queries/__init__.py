"""Queries of the delivery log: search, lookups, statistics."""
