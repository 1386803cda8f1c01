"""`miros-mesh page`: the mesh at work, in a browser."""
