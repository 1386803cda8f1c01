"""What every service of the shop does alike: settings, logs, metrics, and its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from miros_mesh import (
    MeshConfig,
    NetworkedActiveObject,
    notify_systemd,
    reload_on_sighup,
    stop_on_sigterm,
)
from miros_mesh.observe.logs import configure_json
from miros_mesh.observe.metrics import MetricsObserver
from miros_mesh.observe.server import start_metrics_server
from shop.messages import PAYLOADS
from shop.order import OrderChart, taking_orders
from shop.payment import PaymentChart, charging
from shop.shipping import ShippingChart, shipping

Make = Callable[[MeshConfig, Path], NetworkedActiveObject]

_CHARTS: Final[Mapping[str, tuple[Make, Callable[..., Any]]]] = {
    "order": (lambda config, _: OrderChart(config=config), taking_orders),
    "payment": (lambda config, books: PaymentChart(books, config=config), charging),
    "shipping": (lambda config, books: ShippingChart(books, config=config), shipping),
}
SERVICES: Final = tuple(_CHARTS)


def settings(metrics: MetricsObserver) -> MeshConfig:
    """Return the settings: those of the environment, and what no variable can hold."""
    return MeshConfig.from_env(payloads=PAYLOADS, observers=(metrics,))


def run(service: str, folder: Path) -> None:
    """Be a service until SIGTERM; its log and its books are files in that folder."""
    metrics = begin(service, folder)
    make, state = _CHARTS[service]
    chart = make(settings(metrics), folder / f"{service}.books")
    server = start_metrics_server(0)
    try:
        chart.start_at(state)
        tell(folder, server.url)
        # SIGHUP ends a pause, and not the service.
        while True:
            signal.pause()
    finally:
        chart.stop()
        server.stop()


def begin(service: str, folder: Path) -> MetricsObserver:
    """Do as a service manager asks, and write the log as JSON; return what counts."""
    stop_on_sigterm()
    reload_on_sighup()
    notify_systemd()
    configure_json(folder / f"{_node()}.log", service=service)
    return MetricsObserver()


def tell(folder: Path, url: str) -> None:
    """Say that the service is there, and where it is heard."""
    draft = folder / f"{_node()}.draft"
    draft.write_text(url)
    # There as a whole, or not at all.
    draft.rename(folder / f"{_node()}.url")


def _node() -> str:
    return os.environ["MIROS_MESH_NODE_NAME"]
