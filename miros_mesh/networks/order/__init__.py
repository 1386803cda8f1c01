"""Which events of a sender a receiver has had, which it misses, and which are not for it."""
