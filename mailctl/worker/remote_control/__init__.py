"""Validation of Celery's control messages before a worker acts on them.

`guard` receives them, `message` decides on each, and `arguments` lists the valid arguments of the commands.
"""
