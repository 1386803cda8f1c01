"""Watching a mesh from a node without a chart."""
