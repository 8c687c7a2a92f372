"""Encryption, action links and masking of secrets in content."""
