"""Nodes of miros-rabbitmq on the same brokers: what they send is heard, and they hear ours."""
