"""The first example program of the ancestor, with another import line."""
# mypy: allow-untyped-calls

import random
import time
import uuid

from miros.event import Event, return_status, signals
from miros.hsm import spy_on

from miros_mesh import NetworkedActiveObject


def make_name(post):
    return str(uuid.uuid4())[0:5] + "_" + post


def wait_for(chart, signal):
    chart.post_fifo(Event(signal=signal), times=1, period=random.randint(2, 7), deferred=True)


@spy_on
def inner(chart, e):
    status = return_status.UNHANDLED
    if e.signal == signals.ENTRY_SIGNAL:
        wait_for(chart, signals.to_outer)
        chart.transmit(Event(signal=signals.other_to_inner, payload=chart.name))
        status = return_status.HANDLED
    elif e.signal == signals.EXIT_SIGNAL:
        chart.cancel_events(Event(signal=signals.to_outer))
        status = return_status.HANDLED
    elif e.signal in (signals.to_outer, signals.other_to_outer):
        status = chart.trans(outer)
    elif e.signal in (signals.INIT_SIGNAL, signals.to_inner, signals.other_to_inner):
        status = return_status.HANDLED
    else:
        status, chart.temp.fun = return_status.SUPER, outer
    return status


@spy_on
def outer(chart, e):
    status = return_status.UNHANDLED
    if e.signal == signals.INIT_SIGNAL:
        wait_for(chart, signals.to_inner)
        chart.transmit(Event(signal=signals.other_to_outer, payload=chart.name))
        status = return_status.HANDLED
    elif e.signal in (signals.to_inner, signals.other_to_inner):
        status = chart.trans(inner)
    elif e.signal in (signals.ENTRY_SIGNAL, signals.EXIT_SIGNAL):
        status = return_status.HANDLED
    else:
        status, chart.temp.fun = return_status.SUPER, chart.top
    return status


ao = NetworkedActiveObject(
    make_name("ao"),
    rabbit_user="peter",
    rabbit_password="rabbit",
    tx_routing_key="heya.man",
    rx_routing_key="#.man",
    mesh_encryption_key=b"u3Uc-qAi9iiCv3fkBfRUAKrM1gH8w51-nVU8M8A73Jg=",
)
ao.enable_snoop_trace()
ao.start_at(outer)
time.sleep(20)  # noqa: TID251
