"""What a process of a node name leaves for the next one: how its charts died, how far they came."""
