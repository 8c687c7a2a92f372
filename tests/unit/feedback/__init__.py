"""Tests of `mailctl.feedback`."""
