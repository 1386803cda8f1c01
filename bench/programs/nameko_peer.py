"""nameko: its RPC as `make bench ARGS=patterns` measures it, its events as `ARGS=peers` does."""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections import deque
from typing import Any

import talk

SERVICE = "bench_echo"


def main() -> None:
    """Serve, or ask, until the input ends."""
    settings = talk.settings()
    # Of eventlet, that it has grown old.
    warnings.simplefilter("ignore")
    config = {"AMQP_URI": settings["url"], "max_workers": settings["workers"]}
    if settings["role"] == "server":
        serve(config)
    elif settings["role"] == "client":
        ask(config, settings["filler"])
    elif settings["role"] == "receiver":
        hear(config, settings["topic"])
    else:
        tell(config, settings["topic"])


def serve(config: dict[str, Any]) -> None:
    """Answer each call with what it brought."""
    import eventlet  # noqa: PLC0415 - of another environment

    eventlet.monkey_patch()
    from nameko.containers import ServiceContainer  # noqa: PLC0415
    from nameko.rpc import rpc  # noqa: PLC0415

    class Echo:
        name = SERVICE

        @rpc  # type: ignore[untyped-decorator]
        def echo(self, payload: str) -> str:
            return payload

    container = ServiceContainer(Echo, config)
    container.start()
    talk.say(ready=True)
    # The end of the input; the service goes on meanwhile, as it would not behind a `read`.
    eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
    container.stop()


def hear(config: dict[str, Any], topic: str) -> None:
    """Handle events, each stored and acknowledged."""
    import eventlet  # noqa: PLC0415 - of another environment
    from eventlet import tpool  # noqa: PLC0415

    eventlet.monkey_patch()
    from nameko.containers import ServiceContainer  # noqa: PLC0415
    from nameko.events import event_handler  # noqa: PLC0415

    counter = talk.Counter()

    class Listener:
        name = topic

        @event_handler(topic, "bench")  # type: ignore[untyped-decorator]
        def handle(self, content: str) -> None:
            counter.count(content.encode())

    container = ServiceContainer(Listener, config)
    container.start()
    # The service goes on while its next line is awaited.
    talk.read_line = lambda: tpool.execute(sys.stdin.readline)
    talk.receive(counter.listen, in_order=False)
    container.stop()


def tell(config: dict[str, Any], topic: str) -> None:
    """Dispatch events, each confirmed."""
    from nameko.standalone.events import event_dispatcher  # noqa: PLC0415 - of another environment

    dispatch = event_dispatcher(config)
    talk.send(lambda number, filled: dispatch(topic, "bench", talk.body(number, filled).decode()))


def ask(config: dict[str, Any], filler: str) -> None:
    """Call as the lines of the input say."""
    from nameko.standalone.rpc import ServiceRpcProxy  # noqa: PLC0415

    with ServiceRpcProxy(SERVICE, config) as service:
        talk.say(ready=True)
        for line in sys.stdin:
            requests = json.loads(line)
            took_s = [_alone(service, filler) for _ in range(requests["alone"])]
            began = time.perf_counter()
            _many(service, filler, requests["sustained"], requests["in_flight"])
            talk.say(
                median_s=statistics.median(took_s),
                p99_s=statistics.quantiles(took_s, n=100)[98],
                per_s=requests["sustained"] / (time.perf_counter() - began),
            )


def _alone(service: Any, filler: str) -> float:
    began = time.perf_counter()
    if service.echo(filler) != filler:
        raise AssertionError("another answer")
    return time.perf_counter() - began


def _many(service: Any, filler: str, sustained: int, in_flight: int) -> None:
    calls: deque[Any] = deque()
    for _ in range(sustained):
        if len(calls) == in_flight:
            calls.popleft().result()
        calls.append(service.echo.call_async(filler))
    while calls:
        calls.popleft().result()


if __name__ == "__main__":
    main()
