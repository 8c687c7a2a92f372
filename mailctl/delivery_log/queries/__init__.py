"""What the delivery log answers: search, look-ups, statistics."""
