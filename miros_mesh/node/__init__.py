"""One process on the mesh: the composition root, and the nodes that a process has."""
