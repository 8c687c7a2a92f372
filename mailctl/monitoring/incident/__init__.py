"""The current incident: every problem with its evidence, the emails that it holds up, and what to do.

The door is `mailctl.monitoring.incident.report`.
"""
