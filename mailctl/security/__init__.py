"""Encryption, action links, and the masking of secrets in content."""
