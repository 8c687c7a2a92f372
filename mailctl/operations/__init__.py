"""What operators do to emails: selection, bulk actions, pausing, maintenance, preview."""
