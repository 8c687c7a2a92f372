"""Mechanisms within one process: values of its own, safe forks, calls with a deadline, and a clock."""
