"""Keys, links, and masking of content."""
