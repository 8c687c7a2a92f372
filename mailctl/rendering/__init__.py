"""Renders emails as MIME messages: templates, sandbox and composer."""
