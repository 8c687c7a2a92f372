"""A delivery log with partitions."""
