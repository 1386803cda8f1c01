"""Wire and link put together: the mesh, the snoop networks, repair and node status.

Locks are taken in this order, of which each line begins anew:

* peers, network, frame, echoes
* peers, network, outbox of a peer
* peers, network, history
* inbox, alone; so with ticket, letters and deaths
* the numbering of a snoop network, alone; so with watchers and console

A feed's lock is only tried. Hooks of observers, watchers and callbacks of the program run without
any of them.
"""
