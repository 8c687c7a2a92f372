"""The SMTP client: pooled sessions, and the outcome of each attempt to send a message."""
