"""The delivery log: every email is a row here before anything else happens to it."""
