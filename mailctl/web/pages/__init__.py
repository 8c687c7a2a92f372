"""The HTML pages of the dashboard."""
