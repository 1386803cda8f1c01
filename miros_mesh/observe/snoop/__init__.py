"""Watching a mesh from a node without a chart.

`monitor` shows what every chart does, record by record; `overview` shows what each node says of
itself once a second. Both join the mesh as a `listener_node`.
"""
