"""A service adopts mailctl by one changed import: its own end-to-end tests pass before and after."""
