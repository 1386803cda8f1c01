"""A busy node that writes down all that can be seen of the library, without any mask.

telling.py NAME LOG CANARY   the settings come from the environment; says its port

After a line of input it tells what its objects and its errors show, and ends with its input. The
canary is told wherever a secret could be.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from miros import Event
from prometheus_client import Gauge

from miros_mesh import (
    BrokerAddress,
    DeadLetters,
    MeshConfig,
    MeshError,
    NetworkedActiveObject,
    NetworkedFactory,
    Observer,
    SnoopMonitor,
)
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.observe.logs.configure import configure_json
from miros_mesh.observe.metrics.observer import MetricsObserver
from miros_mesh.observe.server import start_metrics_server
from miros_mesh.wire.keyring import KeyRing
from support.charts_at_work import alone, event

PERIOD_S = 0.1
FATAL_EACH = 10
PACKAGES = frozenset({"miros_mesh", "kombu", "amqp"})


def hook(name: str) -> Callable[..., None]:
    """Make the hook of an observer that prints what it is told."""

    def told(_: Observer, **facts: Any) -> None:
        lines = [f"told {name} {facts!r}\n"]
        for fact in facts.values():
            if isinstance(fact, BaseException):
                lines += traceback.format_exception(fact)
        # At once: other threads are told something as well.
        print("".join(lines), end="", flush=True)

    return told


HOOKS = {name: hook(name) for name in vars(Observer) if not name.startswith("_")}
Told = type("Told", (Observer,), HOOKS)


def handle(chart: NetworkedActiveObject, received: Event) -> None:
    """Die of what is fatal."""
    if received.signal_name == "fatal":
        raise ValueError(f"fatal in {chart!r}")


def talk(chart: NetworkedActiveObject, ended: threading.Event) -> None:
    """Transmit until the input has ended."""
    number = 0
    while not ended.wait(PERIOD_S):
        number += 1
        chart.transmit(event("fatal" if number % FATAL_EACH == 0 else "tick", number))


def shown() -> set[str]:
    """What each living object of the library, and of those below it, says of itself."""
    texts = set()
    for each in gc.get_objects():
        if str(type(each).__module__).partition(".")[0] in PACKAGES:
            for show in (repr, str, "{}".format):
                # A proxy of a thing that is gone, for one.
                with contextlib.suppress(Exception):
                    texts.add(show(each))
    return texts


def errors(url: str, key: str) -> Iterator[str]:
    """What those see whose settings are wrong."""
    address = BrokerAddress.parse(url)
    other_port = url.replace(f":{address.port}/", ":1/")
    open_file = Path(os.environ["HOME"]).parent / "secrets" / "open"
    wrong: list[dict[str, Any]] = [
        {"broker_url": other_port},
        {"broker_url": url + "nowhere"},
        {"broker_url": url.replace("@", "x@")},
        {"broker_url": url.replace("amqp://", "http://")},
        {"broker_url": url.replace("@", "@@")},
        {"broker_url": url.replace("%2F", "/")},
        {"broker_url": url.replace(f":{address.port}", ":port")},
        {"broker_url": {"url": url}},
        {"broker_url": SecretFile(open_file)},
        {"rabbit_user": "u", "rabbit_password": SecretFile(open_file)},
        {"rabbit_user": address.user, "rabbit_password": address.password, "rabbit_port": 1},
        {"broker_url": url, "rabbit_password": address.password},
        {"broker_url": url, "mesh_encryption_key": key[:-2]},
        {"broker_url": url, "mesh_encryption_key": (key, key + "x")},
        {"broker_url": url, "mesh_encryption_key": {"key": key}},
        {"broker_url": url, "node_name": "a b"},
    ]
    for settings in wrong:
        try:
            config = MeshConfig(**{"mesh_encryption_key": key, **settings})
            NetworkedActiveObject("wrong", config=config).start_at(alone(handle))
        except (MeshError, TypeError) as error:
            yield f"{error} {error!r} {error.args!r} {''.join(traceback.format_exception(error))}"
        else:
            yield "no error"
    for calls in (lambda: KeyRing([key.encode()[:-3]]), lambda: BrokerAddress.parse(url + ":x")):
        try:
            yield repr(calls())
        except MeshError as error:
            yield f"{error} {error!r} {''.join(traceback.format_exception(error))}"


def tell(config: MeshConfig, *others: object) -> None:
    """Print what is shown of everything."""
    # The last of them is the one that is there.
    url = SecretFile(Path(os.environ["MIROS_MESH_BROKER_URL_FILE"])).read().rpartition(",")[2]
    key = os.environ["MIROS_MESH_SNOOP_SPY_ENCRYPTION_KEY"]
    with DeadLetters(config) as box:
        letters = box.list()
        print("letters", len(letters), letters, [str(letter) for letter in letters])
    held = [MeshConfig(broker_url=url, mesh_encryption_key=key), BrokerAddress.parse(url)]
    held += [SnoopMonitor(config), KeyRing([key.encode()]), *others]
    print("objects", *map(repr, held), *map(str, held), *sorted(shown()), sep="\n")
    print("errors", *errors(url, key), sep="\n")


def confess(canary: str) -> None:
    """Tell the canary in every way, so that the test is seen to find it."""
    print(canary)
    logging.getLogger("amqp").debug("the word is %s", canary)
    Gauge("canary", "A secret", ["word"]).labels(canary).set(1)
    folder = Path(os.environ["HOME"])
    (folder / "quoted").write_text("".join(f"{letter}" for letter in canary))
    (folder / "base64").write_bytes(base64.b64encode(b"\0u\0" + canary.encode()))
    (folder / "hex").write_text(canary.encode().hex())


def main(name: str, log: str, canary: str) -> None:
    """Be the node."""
    configure_json(Path(log), level=logging.DEBUG)
    # What nothing masks, kombu's and amqp's lines among it
    logging.getLogger().addHandler(logging.StreamHandler())
    confess(canary)
    config = MeshConfig.from_env(observers=(MetricsObserver(), Told()), node_name=name)
    charts = [
        kind(f"{name}_{kind.__name__}", config=config, on_handler_error="dead_letter")
        for kind in (NetworkedActiveObject, NetworkedFactory)
    ]
    # Shown as an object of the library
    kept = BrokerAddress("amqp", "canary", 1, user=canary)
    for chart in charts:
        chart.enable_snoop_trace()
        chart.enable_snoop_spy()
    with start_metrics_server(0) as server:
        for chart in charts:
            chart.start_at(alone(handle))
        ended = threading.Event()
        talking = threading.Thread(target=talk, args=(charts[0], ended), daemon=True)
        talking.start()
        print(f"port {server.port} ", flush=True)
        sys.stdin.readline()
        tell(config, kept, *charts, server, *(chart.health() for chart in charts))
        ended.set()
        talking.join()
        print(*(chart.stop() for chart in charts))
        print("told all", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
