"""Listeners: logs and metrics. Nothing below knows them, and importing this loads neither."""
