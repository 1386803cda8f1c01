"""Threads with an owner, limits to waiting, clocks and timers."""
