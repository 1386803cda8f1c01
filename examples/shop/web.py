"""The front of the shop: `POST /orders` places an order, and answers when it was paid."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from miros_mesh import AsyncMeshClient, MeshConfig, Message
from miros_mesh.errors import RequestTimedOutError, RequestUnroutableError
from miros_mesh.observe.metrics import MetricsObserver
from shop.messages import ORDERS, Item, Order, Outcome
from shop.service import begin, settings, tell

PATIENCE_S = 30.0
"""Longer than the order service waits for the payment."""


def front(config: MeshConfig | None = None) -> Starlette:
    """Return the application; without settings it takes those of the environment."""
    config = config or settings(MetricsObserver())

    @asynccontextmanager
    async def on_the_mesh(app: Starlette) -> AsyncIterator[None]:
        async with AsyncMeshClient(config, name="web") as client:
            app.state.mesh = client
            yield

    return Starlette(routes=[Route("/orders", place, methods=["POST"])], lifespan=on_the_mesh)


async def place(request: Request) -> JSONResponse:
    """Place an order: 201 when it is paid, 202 when that is not known yet, 503 without a shop."""
    try:
        order = _order_of(await request.json())
    except (ValueError, KeyError, TypeError, InvalidOperation) as error:
        return JSONResponse({"error": f"no order: {type(error).__name__}"}, status_code=400)
    mesh: AsyncMeshClient = request.app.state.mesh
    try:
        asked = Message("PLACE_ORDER", order)
        reply = await mesh.request(asked, PATIENCE_S, routing_key=ORDERS)
    except RequestUnroutableError:
        return JSONResponse({"error": "no order service is there"}, status_code=503)
    except RequestTimedOutError:
        return JSONResponse({"order": str(order.id), "state": "unknown"}, status_code=202)
    outcome: Outcome = reply.payload
    body = {"order": str(outcome.order), "state": outcome.state}
    if outcome.receipt is None:
        return JSONResponse(body, status_code=202)
    body["amount"], body["by"] = str(outcome.receipt.amount), outcome.receipt.by
    return JSONResponse(body, status_code=201)


def run(folder: Path) -> None:
    """Serve the front at a free port of the loopback interface, until SIGTERM."""
    config = settings(begin("web", folder))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        server = uvicorn.Server(uvicorn.Config(front(config), log_config=None))
        tell(folder, f"http://{host}:{port}")
        server.run(sockets=[listener])


def _order_of(said: Any) -> Order:
    items = tuple(
        Item(str(each["article"]), int(each["amount"]), Decimal(each["price"]))
        for each in said["items"]
    )
    return Order(uuid4(), str(said["customer"]), items)
