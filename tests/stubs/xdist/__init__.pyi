"""Scheduling tests over processes."""
