"""Code that is no chart, on the mesh: web handlers, scripts, services with an event loop.

* `client`, `async_client`: what programs use. Each is a face of a `participant`.
* `participant`: a client's place on its node, and what becomes of what comes for it.
* `reader`: what has come for one stream of events, until it is asked for.
* `asked`: how a request ends, and as which error.
* `message`: an event as such code has it.

Locks: that of a participant's end first, then that of a reader. Nothing of the node is called under
the latter.
"""
