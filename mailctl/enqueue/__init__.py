"""Records requests in the delivery log, and publishes emails to the broker."""
