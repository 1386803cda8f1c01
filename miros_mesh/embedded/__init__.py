"""A broker for the processes of one machine, without a server: a Kombu transport on SQLite."""
