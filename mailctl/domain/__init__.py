"""Frozen values, the catalog of kinds, validation, and pure policies."""
