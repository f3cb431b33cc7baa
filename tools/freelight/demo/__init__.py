"""Drawn pictures for the demo and the tests."""
