"""Where brokers are found: a module for each source, and what they look with."""
