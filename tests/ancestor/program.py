"""One program for both libraries: `python program.py old` runs on miros-rabbitmq, `new` on ours.

Orders come in as lines of JSON; what it tells goes out likewise, among the traces that the library
prints. It imports nothing of the tests: the environment of the ancestor has none of it.
"""

import collections
import collections.abc
import json
import os
import sys
import threading
import time
from typing import Any

OLD = sys.argv[1] == "old"
# Both read the hosts file of the working folder, which is another one once a host is entered.
os.chdir(os.environ["HOME"])
if OLD:
    # Python 3.10 took these names away, which pika 0.13 and miros-rabbitmq import.
    for missing in ("Callable", "Iterable", "Mapping", "MutableMapping", "Sequence"):
        setattr(collections, missing, getattr(collections.abc, missing))

from miros import Event, return_status, signals, spy_on  # noqa: E402

if OLD:
    import pika
    from miros_rabbitmq import NetworkedActiveObject

    assert pika.__version__ == "0.13.1"
else:
    from miros_mesh import MeshConfig, NetworkedActiveObject

heard: dict[str, list[int]] = {}
received: dict[str, list[str]] = {}
changed = threading.Condition()
never = threading.Event()


def say(**facts: Any) -> None:
    os.write(1, f"\n{json.dumps(facts)}\n".encode())


@spy_on
def idle(chart: Any, event: Event) -> Any:
    if event.signal == signals.number:
        count(chart, event)
        return return_status.HANDLED
    if event.signal == signals.move:
        return chart.trans(busy)
    chart.temp.fun = chart.top
    return return_status.SUPER


@spy_on
def busy(chart: Any, event: Event) -> Any:
    if event.signal == signals.move:
        return chart.trans(idle)
    chart.temp.fun = idle
    return return_status.SUPER


def count(chart: Any, event: Event) -> None:
    """Note which numbers of whom were handled, in their order."""
    sender = event.payload["sender"]
    with changed:
        heard.setdefault(sender, []).append(event.payload["number"])
        if not OLD:
            received[sender] = [chart.received.node, chart.received.chart]


def made(name: str) -> Any:
    if OLD:
        return NetworkedActiveObject(
            name,
            rabbit_user=os.environ["RABBIT_USER"],
            rabbit_password=os.environ["RABBIT_PASSWORD"],
            tx_routing_key=f"heya.{name}.man",
            rx_routing_key="#.man",
            mesh_encryption_key=os.environ["MESH_ENCRYPTION_KEY"].encode(),
            snoop_trace_encryption_key=os.environ["SNOOP_TRACE_ENCRYPTION_KEY"].encode(),
            snoop_spy_encryption_key=os.environ["SNOOP_SPY_ENCRYPTION_KEY"].encode(),
        )
    return NetworkedActiveObject(
        name,
        config=MeshConfig.from_env(ancestors="both"),
        tx_routing_key=f"heya.{name}.man",
        rx_routing_key="#.man",
    )


def transmit(chart: Any, first: int, amount: int, per_s: float) -> None:
    """Transmit numbers, so many a second."""
    began = time.monotonic()
    for number in range(first, first + amount):
        chart.transmit(
            Event(signal=signals.number, payload={"sender": chart.name, "number": number})
        )
        due = began + (number - first + 1) / per_s
        never.wait(max(due - time.monotonic(), 0))
    say(sent=amount)


def main() -> None:
    chart = made(sys.argv[2])
    chart.enable_snoop_trace()
    chart.start_at(idle)
    say(started=chart.name)
    for line in sys.stdin:
        order = json.loads(line)
        do = order.pop("do")
        if do == "transmit":
            threading.Thread(target=transmit, args=(chart,), kwargs=order, daemon=True).start()
        elif do == "move":
            chart.transmit(Event(signal=signals.move, payload="move"))
        elif do == "heard":
            with changed:
                say(heard=heard, received=received)
        elif do == "stop":
            break
    if not OLD:
        say(stopped=repr(chart.stop()))
    else:
        say(stopped="")
    # The ancestor's threads have no end.
    os._exit(0)


main()
