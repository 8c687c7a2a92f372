"""From a request to a row in the delivery log to a message on the broker."""
