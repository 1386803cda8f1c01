"""Moves opaque bytes; the only user of kombu, amqp and tenacity."""
