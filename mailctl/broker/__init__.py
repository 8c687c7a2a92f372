"""What can be asked of a broker, and told to the workers on it."""
