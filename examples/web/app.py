"""A web front: `GET /prices/apples` asks the chart of `prices.py`, and answers over HTTP.

uvicorn --app-dir examples/web app:app       the settings come from the environment

| what becomes of the request | status |
| --- | --- |
| the chart answers | 200, or 404 for what it does not sell |
| it does not answer within `LIMIT_S` | 504 |
| it does not run: no queue takes the request | 503 |
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from miros_mesh import AsyncMeshClient, Message
from miros_mesh.errors import RequestTimedOutError, RequestUnroutableError

LIMIT_S = 2.0


class State(TypedDict):
    """What the requests of a worker share."""

    mesh: AsyncMeshClient


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[State]:
    """Join the mesh once for each worker: the client belongs to its event loop."""
    async with AsyncMeshClient(name="web", tx_routing_key="prices") as mesh:
        yield {"mesh": mesh}


async def price(request: Request) -> Response:
    """Ask the chart; thousands may wait for it at once, and none of them holds a thread."""
    mesh: AsyncMeshClient = request.state.mesh
    asked = Message("price_asked", {"item": request.path_params["item"]})
    try:
        answer = await mesh.request(asked, LIMIT_S)
    except RequestTimedOutError:
        return JSONResponse({"error": "the prices take too long"}, 504)
    except RequestUnroutableError:
        return JSONResponse({"error": "the prices are closed"}, 503)
    return JSONResponse(answer.payload, 404 if answer.signal_name == "not_sold" else 200)


async def ready(request: Request) -> Response:
    """Say whether events can come and go, for what balances the load."""
    mesh: AsyncMeshClient = request.state.mesh
    problems = mesh.health().unready
    return JSONResponse({"problems": problems}, 503 if problems else 200)


app = Starlette(
    routes=[Route("/prices/{item}", price), Route("/ready", ready)],
    lifespan=lifespan,
)
