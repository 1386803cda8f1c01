"""`AsyncMeshClient`: the mesh for an event loop, and `AsyncEventStream`, what it hears."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from miros_mesh.address import DEFAULT_ROUTING_KEY
from miros_mesh.clients.message import Message, Sendable
from miros_mesh.clients.participant import Participant
from miros_mesh.clients.reader import Reader, warn_of_open_stream
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import MeshError, NotStartedError, WrongLoopError
from miros_mesh.health import Health
from miros_mesh.networks.received import EVERYONE, Everyone, Received
from miros_mesh.node.session import seconds
from miros_mesh.report import StopReport

T = TypeVar("T")


class AsyncMeshClient:
    """The mesh for code on an event loop: as `MeshClient`, and nothing blocks the loop.

        async with AsyncMeshClient(config) as client:
            answer = await client.request(Message("price", "apples"), timeout_s=2.0)

    It belongs to the loop that starts it. What comes for it is handed over to that loop by the
    threads of the node; no thread waits for a request. A cancelled `request` is forgotten: it
    leaves neither a timer nor an entry, and an answer that comes later is dropped.
    """

    def __init__(
        self,
        config: MeshConfig | None = None,
        name: str | None = None,
        *,
        tx_routing_key: str = DEFAULT_ROUTING_KEY,
    ) -> None:
        """Make a client; nothing is connected before `start`. As `MeshClient`, outside a loop too.

        Raises `ConfigError` or `RoutingKeyError`.
        """
        self._participant = Participant(config, name, tx_routing_key)
        self._bridge: _Bridge | None = None

    @property
    def name(self) -> str:
        """What others call it; without a name of its own it is known after `start`."""
        return self._participant.name

    @property
    def address(self) -> str:
        """Where charts reach it, by `transmit(event, to=...)`.

        Raises `NotStartedError`, `StoppedError` or `ForkedError` outside the client's life.
        """
        return self._participant.address

    async def start(self) -> None:
        """Join the mesh, on this loop. Raises as `MeshClient.start`, and `WrongLoopError`.

        A start that is cancelled closes the client.
        """
        bridge = self._bridge or _Bridge(asyncio.get_running_loop())
        bridge.refuse_others("start")
        await bridge.run(self._participant.start, break_off=self._participant.close)
        self._bridge = bridge

    async def close(self) -> StopReport:
        """Leave the mesh; what waits ends, a `request` with `StoppedError`.

        An event of a stream that another task handles may be brought to its end, as with
        `MeshClient.close`. Returns what became of the events of its node, the same when repeated.
        Raises `ForkedError` and `WrongLoopError`.
        """
        bridge = self._bridge or _Bridge(asyncio.get_running_loop())
        bridge.refuse_others("close")
        return await bridge.run(partial(self._participant.close, asyncio.current_task()))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(
        self,
        event: Sendable,
        *,
        routing_key: str | None = None,
        to: str | Received | Everyone = EVERYONE,
        ttl_s: float | None = None,
    ) -> None:
        """Send an event to every chart that listens, as `MeshClient.send`; never waits.

        Raises as that, and `WrongLoopError`.
        """
        self._here("send")
        self._participant.send(event, routing_key=routing_key, to=to, ttl_s=ttl_s)

    async def request(
        self,
        event: Sendable,
        timeout_s: float,
        *,
        to: str | Received | Everyone = EVERYONE,
        routing_key: str | None = None,
    ) -> Message:
        """Send an event that wants a reply, and return the first one that comes.

        Raises as `MeshClient.request`, and `WrongLoopError`.
        """
        bridge = self._here("request")
        ended: asyncio.Future[Message] = bridge.loop.create_future()
        request_id = self._participant.ask(
            event,
            timeout_s,
            lambda outcome: bridge.call(partial(_settle, ended, outcome)),
            to=to,
            routing_key=routing_key,
        )
        try:
            return await ended
        finally:
            # When this task was cancelled; else there is nothing to cancel any more.
            self._participant.cancel(request_id)

    async def reply(self, event: Sendable, *, to: Received, ttl_s: float | None = None) -> None:
        """Answer a request that came by `events`, as `MeshClient.reply`; never waits.

        Raises as that, and `WrongLoopError`.
        """
        self._here("reply")
        self._participant.reply(event, to, ttl_s)

    def events(
        self, patterns: str | Sequence[str] | None = None, *, timeout_s: float | None = None
    ) -> AsyncEventStream:
        """Hear topics; without patterns, what is sent to this client alone.

        As `MeshClient.events`, but they are heard from `async with` on, or where there is none from
        the first turn of `async for`, and what the broker refuses is raised there.

        Raises `TtlError`, `WrongLoopError`, and as `send` outside the client's life.
        """
        bridge = self._here("events")
        limit_s = None if timeout_s is None else seconds("timeout_s", timeout_s)
        return AsyncEventStream(self._participant, bridge, patterns, limit_s)

    def health(self) -> Health:
        """Say how the client's node is at this moment; from any thread.

        Raises `NotStartedError`, `StoppedError` or `ForkedError` outside the client's life.
        """
        return self._participant.health()

    def _here(self, call: str) -> _Bridge:
        """Return the way to the loop of the client; raises when this is not it, or not started."""
        self._participant.live(call)
        bridge = self._bridge
        if bridge is None:
            # Another task starts it at this moment.
            raise NotStartedError(f"{call} before start: client {self.name} is being started")
        bridge.refuse_others(call)
        return bridge


class AsyncEventStream:
    """The events that one `events` hears, for one task at a time; ends when it is closed.

        async with client.events("orders.#") as orders:
            async for order in orders:
                print(order.signal_name, order.payload, order.received.sender)

    When an event is acknowledged `EventStream` says. While a task handles one, at most 100 wait
    here; the rest waits undecoded, as many as the broker hands out ahead, and at the broker.
    """

    def __init__(
        self,
        participant: Participant,
        bridge: _Bridge,
        patterns: str | Sequence[str] | None,
        timeout_s: float | None = None,
    ) -> None:
        self._participant = participant
        self._bridge = bridge
        self._patterns = patterns
        self._timeout_s = timeout_s
        self._reader: Reader | None = None
        self._closed = False
        # Of the task that waits; on the loop alone, as all that follows.
        self._bell: asyncio.Future[None] | None = None
        self._silent = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Have the last event acknowledged, and wait for the next one."""
        message = None if self._closed else await self._next()
        if message is None:
            await self.close()
            raise StopAsyncIteration
        return message

    def handled(self) -> None:
        """Have the last event acknowledged now, before the next one is asked for."""
        # Not by its truth, here and below: one in which nothing waits has a length of 0.
        if self._reader is not None:
            self._reader.handled()

    async def close(self) -> None:
        """Hear no more. An event that is not handled stays so; under a node name it comes again."""
        reader = None if self._closed else self._reader
        self._closed = True
        if reader is not None:
            close = partial(self._participant.close_reader, reader, asyncio.current_task())
            await self._bridge.run(close)

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._closed:
            self.handled()
        await self.close()

    def __del__(self) -> None:
        reader = self._reader
        if reader is not None and not (self._closed or reader.ended):
            reader.forsake()
            warn_of_open_stream()

    async def _open(self) -> Reader:
        if self._reader is None:
            self._bridge.refuse_others("events")
            opened: list[Reader] = []
            await self._bridge.run(
                lambda: opened.append(self._participant.open_reader(self._patterns)),
                undo=lambda: self._participant.close_reader(opened[0]),
            )
            (self._reader,) = opened
            # Weakly: the client keeps the reader, and would keep a stream that was let go of.
            self._reader.changed_elsewhere = partial(_ring, self._bridge, weakref.ref(self))
        return self._reader

    async def _next(self) -> Message | None:
        reader, task = await self._open(), asyncio.current_task()
        if message := reader.take(task):
            return message
        with reader.waiting_alone():
            return await self._await(reader, task)

    async def _await(self, reader: Reader, task: object) -> Message | None:
        self._silent = False
        cancel = None
        if self._timeout_s:
            cancel = self._participant.after(
                self._timeout_s, lambda: self._bridge.call(self._end_wait)
            )
        try:
            while not ((message := reader.take(task)) or self._over(reader)):
                # What changes from here on rings it, by way of this loop.
                self._bell = self._bridge.loop.create_future()
                await self._bell
            return message
        finally:
            self._bell = None
            if cancel:
                cancel()

    def _over(self, reader: Reader) -> bool:
        return self._closed or self._silent or reader.ended

    def _end_wait(self) -> None:
        self._silent = True
        self.ring()

    def ring(self) -> None:
        """Have the task that waits look again; on the loop."""
        if self._bell and not self._bell.done():
            self._bell.set_result(None)


class _Bridge:
    """From the threads of a node to the loop of a client, and back for what has to wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # Of any thread, in the order in which they came.
        self._calls: deque[Callable[[], object]] = deque()
        # Whether the loop will look. Without a lock: it is set before it looks, so that two threads
        # at once wake it twice at most.
        self._woken = False

    def refuse_others(self, call: str) -> None:
        """Raise `WrongLoopError` on another loop than that of the client."""
        if asyncio.get_running_loop() is not self.loop:
            raise WrongLoopError(
                f"{call} on another event loop than that which has started the client; make a "
                "client for each loop (`async with AsyncMeshClient(...)` inside of it)"
            )

    def call(self, call: Callable[[], object]) -> None:
        """Have this called on the loop, soon; never where the loop is closed."""
        self._calls.append(call)
        if not self._woken:
            self._woken = True
            # One that is closed waits for nothing.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._run_calls)

    async def run(
        self,
        call: Callable[[], T],
        *,
        break_off: Callable[[], object] | None = None,
        undo: Callable[[], object] | None = None,
    ) -> T:
        """Return what a call returns that waits for the broker, without holding up the loop.

        When this is cancelled, the call is broken off, waited for all the same, and undone.
        """
        under_way = self.loop.run_in_executor(None, call)
        try:
            return await asyncio.shield(under_way)
        except asyncio.CancelledError:
            if break_off:
                await self._wait(break_off)
            await asyncio.wait([under_way])
            # Asked for, so that what it has raised is not logged as lost.
            if under_way.exception() is None and undo:
                await self._wait(undo)
            raise

    async def _wait(self, call: Callable[[], object]) -> None:
        await asyncio.wait([self.loop.run_in_executor(None, call)])

    def _run_calls(self) -> None:
        # First, so that what comes from here on wakes the loop again.
        self._woken = False
        # Those that are there, and no more: other tasks have their turn.
        for _ in range(len(self._calls)):
            self._calls.popleft()()


def _ring(bridge: _Bridge, there: weakref.ref[AsyncEventStream]) -> None:
    def ring() -> None:
        if stream := there():
            stream.ring()

    bridge.call(ring)


def _settle(ended: asyncio.Future[Message], outcome: Message | MeshError) -> None:
    # Done when the task that waits was cancelled.
    if ended.done():
        return
    if isinstance(outcome, MeshError):
        ended.set_exception(outcome)
    else:
        ended.set_result(outcome)
