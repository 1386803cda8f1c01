"""A chart of two states that does what it is told on standard input, a line each.

Arguments: its name, then the snoop streams to enable.
"""
# mypy: allow-untyped-calls

import sys

from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject


@spy_on
def outer(chart, event):
    if event.signal == signals.to_inner:
        return chart.trans(inner)
    return _else(chart, event, chart.top)


@spy_on
def inner(chart, event):
    if event.signal == signals.to_outer:
        return chart.trans(outer)
    return _else(chart, event, outer)


def _else(chart, event, parent):
    if event.signal in (signals.ENTRY_SIGNAL, signals.INIT_SIGNAL, signals.EXIT_SIGNAL):
        return return_status.HANDLED
    chart.temp.fun = parent
    return return_status.SUPER


def main(name, *streams):
    chart = NetworkedActiveObject(name)
    for stream in streams:
        getattr(chart, f"enable_snoop_{stream}")()
    chart.start_at(outer)
    for line in sys.stdin:
        verb, _, words = line.strip().partition(" ")
        if verb == "scribble":
            chart.snoop_scribble(words)
        else:
            chart.post_fifo(Event(signal=words))
    chart.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
