"""The wire of miros-rabbitmq 0.2: one or two texts, pickled, and read without that."""
