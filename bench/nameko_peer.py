"""nameko's RPC as `make bench ARGS=patterns` measures it; run by a Python of its own environment.

It reads its settings from the first line of its input, then a line for each round, and writes one
line of JSON for each. A password among the settings is in no list of processes then.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections import deque
from typing import Any

SERVICE = "bench_echo"


def main() -> None:
    """Serve, or ask, until the input ends."""
    settings = json.loads(sys.stdin.readline())
    # Of eventlet, that it has grown old.
    warnings.simplefilter("ignore")
    config = {"AMQP_URI": settings["url"], "max_workers": settings["workers"]}
    if settings["role"] == "server":
        serve(config)
    else:
        ask(config, settings["filler"])


def serve(config: dict[str, Any]) -> None:
    """Answer each call with what it brought."""
    import eventlet  # type: ignore[import-not-found]  # noqa: PLC0415 - of another environment

    eventlet.monkey_patch()
    from nameko.containers import ServiceContainer  # type: ignore[import-not-found]  # noqa: PLC0415
    from nameko.rpc import rpc  # type: ignore[import-not-found]  # noqa: PLC0415

    class Echo:
        name = SERVICE

        @rpc  # type: ignore[untyped-decorator]
        def echo(self, payload: str) -> str:
            return payload

    container = ServiceContainer(Echo, config)
    container.start()
    _say({"ready": True})
    # The end of the input; the service goes on meanwhile, as it would not behind a `read`.
    eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
    container.stop()


def ask(config: dict[str, Any], filler: str) -> None:
    """Call as the lines of the input say."""
    from nameko.standalone.rpc import ServiceRpcProxy  # type: ignore[import-not-found]  # noqa: PLC0415

    with ServiceRpcProxy(SERVICE, config) as service:
        _say({"ready": True})
        for line in sys.stdin:
            requests = json.loads(line)
            took_s = [_alone(service, filler) for _ in range(requests["alone"])]
            began = time.perf_counter()
            _many(service, filler, requests["sustained"], requests["in_flight"])
            _say(
                {
                    "median_s": statistics.median(took_s),
                    "p99_s": statistics.quantiles(took_s, n=100)[98],
                    "per_s": requests["sustained"] / (time.perf_counter() - began),
                }
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


def _say(words: dict[str, Any]) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main()
