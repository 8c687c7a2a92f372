"""The diagnosis of an email: why it is in its state, decided from collected evidence."""
