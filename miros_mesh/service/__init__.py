"""A program as a service: what an operating system or an orchestrator asks of it, and is told."""
