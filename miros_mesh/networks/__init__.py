"""Wire and link put together: the mesh, the snoop networks, repair and node status."""
