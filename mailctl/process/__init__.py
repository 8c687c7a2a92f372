"""Mechanisms within one process: values of its own, calls with a deadline, and a clock."""
