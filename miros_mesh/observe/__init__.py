"""Listeners: logs, metrics, snoop, diagrams, tracing. Each is loaded when it is imported."""
