"""miros made safe for many threads, once for the charts of programs and those of discovery.

* `safe_chart`: the base of both kinds of chart; it applies what follows, and reports a death.
* `mailbox`: the queue of a chart.
* `fabric`: by which charts publish to each other.
* `signal_table`: the process's numbers of signal names.

Locks: each of these modules has one of its own, and takes no other while it holds it.
"""
