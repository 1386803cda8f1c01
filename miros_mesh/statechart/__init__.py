"""miros made safe for many threads, once for the charts of programs and those of discovery.

* `safe_chart`: the base of both kinds of chart; it applies what follows, and reports a death.
* `mailbox`: the queue of a chart.
* `fabric`: by which charts publish to each other.
* `timers`: the events that a chart posts later, and how many there may be.
* `signal_table`: the process's numbers of signal names.

Locks: each of these modules has one of its own, and takes no other of them while it holds it.
"""
