"""Recording requests in the delivery log, and publishing emails to the broker."""
