"""What is particular to RabbitMQ: its transport, its queues, names that one process may hold."""
