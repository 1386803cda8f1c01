"""Clients of an event loop: as those of threads, and nothing holds up the loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from miros import Event

from miros_mesh import AsyncMeshClient, MeshConfig, Message, NetworkedActiveObject
from miros_mesh.errors import (
    BrokerUnreachableError,
    NotStartedError,
    RequestTimedOutError,
    RequestUnroutableError,
    RoutingKeyError,
    StoppedError,
    StreamInUseError,
    WrongLoopError,
)
from miros_mesh.networks.requests import Requests
from miros_mesh.testing.hand_clock import HandClock
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import KEY, Ground, Heard, Launch, Recorder, event
from support.rabbitmq_server import HOST, free_ports
from support.waiting import wait_until

LIMIT_S = 20.0


def doubles(chart: NetworkedActiveObject, asked: Event) -> None:
    if chart.received and chart.received.wants_reply:
        chart.reply(event("doubled", asked.payload * 2))


def requests_of(client: AsyncMeshClient) -> Requests:
    session = client._participant._session
    assert session
    return session.requests


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition without holding up the loop."""
    await asyncio.to_thread(wait_until, condition)


@contextmanager
def watched_loop(most_s: float) -> Iterator[None]:
    """Fail when the loop is held up for longer."""
    loop = asyncio.get_running_loop()
    gaps = [0.0]
    last = loop.time()

    def tick() -> None:
        nonlocal last, handle
        now = loop.time()
        gaps.append(now - last)
        last = now
        handle = loop.call_later(0.005, tick)

    handle = loop.call_soon(tick)
    yield
    handle.cancel()
    assert max(gaps) < most_s


def test_a_request_returns_the_answer_and_what_is_sent_is_heard(
    ground: Ground, launch: Launch
) -> None:
    heard = Heard()
    launch("calculator", ground.node("house"), doubles, rx_routing_key="asks")
    launch("door", ground.node("porch"), heard, rx_routing_key="knocks")

    async def main() -> list[Any]:
        async with AsyncMeshClient(ground.node("web"), tx_routing_key="asks") as client:
            answer = await client.request(Message("double", 4), LIMIT_S)
            assert answer.received
            again = await client.request(Message("double", 5), LIMIT_S, to=answer.received)
            await client.send(Message("knock", 1), routing_key="knocks")
            await client.send(event("knock", 2), to="porch/door")
            return [answer.payload, again.payload]

    assert asyncio.run(main()) == [8, 10]
    wait_until(lambda: heard.payloads == [1, 2])


def test_a_thousand_requests_wait_at_once_on_one_loop_and_no_thread_is_made_for_any(
    ground: Ground, launch: Launch
) -> None:
    kept: list[Any] = []
    held = threading.Event()

    def answers_late(chart: NetworkedActiveObject, asked: Event) -> None:
        if chart.received and chart.received.wants_reply:
            kept.append((chart.received, asked.payload))
            if len(kept) >= 1_000:
                held.set()
                for token, number in kept:
                    chart.reply(event("doubled", number * 2), to=token)

    launch("calculator", ground.node("house"), answers_late, spied=False)

    async def main() -> list[int]:
        async with AsyncMeshClient(ground.node("web")) as client:
            await client.send(Message("first"))
            before = threading.active_count()
            tasks = [
                asyncio.create_task(client.request(Message("double", n), 60.0))
                for n in range(1_000)
            ]
            await until(lambda: held.is_set() and len(kept) == 1_000)
            # One for all timers, and the one that waits here.
            assert threading.active_count() <= before + 2
            answers = [each.payload for each in await asyncio.gather(*tasks)]
            assert len(requests_of(client)) == 0
            return answers

    assert asyncio.run(main()) == [2 * n for n in range(1_000)]


def test_requests_fail_by_the_errors_of_the_other_client(ground: Ground, launch: Launch) -> None:
    launch("silent", ground.node("house"))

    async def main() -> None:
        async with AsyncMeshClient(ground.node("web")) as client:
            with pytest.raises(RequestUnroutableError):
                await client.request(Message("double", 1), LIMIT_S, to="house/calculator")
            with pytest.raises(RequestTimedOutError):
                await client.request(Message("double", 1), 0.05)
            assert len(requests_of(client)) == 0

    asyncio.run(main())


def test_a_cancelled_request_leaves_no_timer_and_no_entry_and_its_answer_is_dropped(
    launch: Launch,
) -> None:
    clock, mesh, recorder = HandClock(), MemoryMesh(), Recorder()
    kept: list[Any] = []

    def keeps(chart: NetworkedActiveObject, asked: Event) -> None:
        if asked.signal_name == "go_on":
            chart.reply(event("late"), to=kept[0])
        elif chart.received and chart.received.wants_reply:
            kept.append(chart.received)

    chart = launch("slow", mesh.config(node_name="house"), keeps)

    async def main() -> None:
        config = mesh.config(node_name="web", clock=clock, observers=(recorder,))
        async with AsyncMeshClient(config) as client:
            task = asyncio.create_task(client.request(Message("double", 1), 60.0))
            await until(lambda: kept)
            assert (clock.timers, len(requests_of(client))) == (1, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (clock.timers, len(requests_of(client))) == (0, 0)

            chart.post_fifo(event("go_on"))
            await until(lambda: recorder.drops == [("mesh", "late_reply", 1)])

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.request(Message("double", 2), 60.0), 0.05)
            assert (clock.timers, len(requests_of(client))) == (0, 0)

    asyncio.run(main())


def test_a_time_out_is_by_the_clock_of_the_node(launch: Launch) -> None:
    clock, mesh = HandClock(), MemoryMesh()
    launch("silent", mesh.config(node_name="house"))

    async def main() -> None:
        async with AsyncMeshClient(mesh.config(node_name="web", clock=clock)) as client:
            task = asyncio.create_task(client.request(Message("double", 1), 60.0))
            await until(lambda: clock.timers)
            clock.advance(59.9)
            assert not task.done()
            clock.advance(0.2)
            with pytest.raises(RequestTimedOutError):
                await task

    asyncio.run(main())


def test_a_slow_stream_gets_everything_in_order_and_holds_little_of_it(ground: Ground) -> None:
    async def main() -> list[int]:
        heard = []
        async with (
            AsyncMeshClient(ground.node("sender")) as sender,
            AsyncMeshClient(ground.node("web", prefetch_frames=5)) as client,
            client.events("talk", timeout_s=LIMIT_S) as events,
        ):
            for number in range(2_000):
                await sender.send(Message("said", number), routing_key="talk")
            reader = events._reader
            assert reader is not None
            # As many as come ahead: five frames, which hold few events or many.
            await until(lambda: sender.health().outbox_events == 0 and len(reader) > 0)
            with watched_loop(1.0):
                async for each in events:
                    heard.append(each.payload)
                    assert len(reader) <= 100
                    await asyncio.sleep(0)
                    if each.payload == 1_999:
                        break
        return heard

    assert asyncio.run(main()) == list(range(2_000))


def test_many_tasks_ask_while_a_stream_is_read(ground: Ground) -> None:
    async def serve(server: AsyncMeshClient, ready: asyncio.Event) -> None:
        async with server.events(["ask.#"]) as asked:
            ready.set()
            async for each in asked:
                assert each.received
                await server.reply(Message("answer", -each.payload), to=each.received)

    async def main() -> list[int]:
        async with (
            AsyncMeshClient(ground.node("server")) as server,
            AsyncMeshClient(ground.node("web"), tx_routing_key="ask.it") as client,
        ):
            ready = asyncio.Event()
            serving = asyncio.create_task(serve(server, ready))
            await ready.wait()
            asks = (client.request(Message("negate", n), LIMIT_S) for n in range(200))
            answers = [each.payload for each in await asyncio.gather(*asks)]
            await server.close()
            await serving
            return answers

    assert asyncio.run(main()) == [-n for n in range(200)]


async def fail_at_the_second(client: AsyncMeshClient, sender: AsyncMeshClient) -> None:
    async with client.events("talk", timeout_s=LIMIT_S) as events:
        for number in range(3):
            await sender.send(Message("said", number), routing_key="talk")
        async for each in events:
            assert 1 / (1 - each.payload)


def test_what_was_not_handled_comes_again_under_a_node_name(ground: Ground) -> None:
    async def main() -> None:
        config = ground.node("web")
        async with AsyncMeshClient(ground.node("sender")) as sender:
            async with AsyncMeshClient(config, "audit") as client:
                with pytest.raises(ZeroDivisionError):
                    await fail_at_the_second(client, sender)
            async with (
                AsyncMeshClient(config, "audit") as client,
                client.events("talk", timeout_s=LIMIT_S) as events,
            ):
                assert [(await anext(events)).payload for _ in range(2)] == [1, 2]

    asyncio.run(main())


def test_the_last_event_that_waits_is_handled_when_the_stream_ends(ground: Ground) -> None:
    async def main() -> None:
        config = ground.node("web")
        async with AsyncMeshClient(ground.node("sender"), tx_routing_key="talk") as sender:
            async with AsyncMeshClient(config, "audit") as client:
                async with client.events("talk", timeout_s=LIMIT_S) as events:
                    await sender.send(Message("said", 1))
                    assert (await anext(events)).payload == 1
                    reader = events._reader
                    assert reader is not None
                    assert len(reader) == 0
                # Its queue is left, and not first with the client.
                assert reader.ended
                assert not client._participant._readers
            async with (
                AsyncMeshClient(config, "audit") as client,
                client.events("talk", timeout_s=LIMIT_S) as events,
            ):
                await sender.send(Message("said", 2))
                assert (await anext(events)).payload == 2

    asyncio.run(main())


def test_an_event_behind_which_nothing_waits_is_handled_when_the_program_says_so(
    ground: Ground,
) -> None:
    async def main() -> None:
        async with (
            AsyncMeshClient(ground.node("sender"), tx_routing_key="talk") as sender,
            AsyncMeshClient(ground.node("web")) as client,
            client.events("talk", timeout_s=LIMIT_S) as events,
        ):
            await sender.send(Message("said", 1))
            await anext(events)
            reader = events._reader
            assert reader is not None
            assert reader.session
            assert reader.session.work().deferred == 1
            events.handled()
            assert reader.session.work().deferred == 0

    asyncio.run(main())


async def open_and_let_go(client: AsyncMeshClient) -> None:
    events = client.events("talk", timeout_s=0.01)
    with pytest.raises(StopAsyncIteration):
        await anext(client.events("other", timeout_s=0.01))
    await events._open()
    there = weakref.ref(events)
    del events
    # The thread that has opened it may hold it for a moment.
    await until(lambda: gc.collect() >= 0 and there() is None)


def test_a_stream_in_which_nothing_waits_warns_when_it_is_left_open() -> None:
    async def main() -> None:
        async with AsyncMeshClient(MemoryMesh().config()) as client:
            with pytest.warns(ResourceWarning, match="let go of and not closed") as warned:
                await open_and_let_go(client)
            # The one that has ended by itself was closed.
            assert len(warned) == 1

    asyncio.run(main())


def test_a_cancelled_reader_loses_nothing(ground: Ground) -> None:
    async def main() -> None:
        async with (
            AsyncMeshClient(ground.node("sender")) as sender,
            AsyncMeshClient(ground.node("web")) as client,
            client.events("talk") as events,
        ):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 0.05)
            await sender.send(Message("said", 1), routing_key="talk")
            assert (await asyncio.wait_for(anext(events), LIMIT_S)).payload == 1

    asyncio.run(main())


def test_a_stream_ends_after_a_time_of_silence() -> None:
    async def main() -> None:
        clock = HandClock()
        async with AsyncMeshClient(MemoryMesh().config(clock=clock)) as client:
            events = client.events("talk", timeout_s=5.0)
            heard: list[Message] = []

            async def read() -> None:
                heard.extend([each async for each in events])

            task = asyncio.create_task(read())
            await until(lambda: clock.timers)
            clock.advance(5.1)
            await asyncio.wait_for(task, LIMIT_S)
            assert not heard
            assert not clock.timers
            with pytest.raises(StopAsyncIteration):
                await anext(events)

    asyncio.run(main())


def test_close_ends_every_wait(ground: Ground, launch: Launch) -> None:
    launch("silent", ground.node("house"))

    async def main() -> None:
        client = AsyncMeshClient(ground.node("web"))
        await client.start()
        events, own = client.events("talk"), client.events()

        async def read(stream: Any) -> list[str]:
            return [each.signal_name async for each in stream if each.signal_name != "PEER_UP"]

        asks = asyncio.create_task(client.request(Message("double", 1), 600.0))
        reads = [asyncio.create_task(read(events)), asyncio.create_task(read(own))]
        await until(lambda: events._bell and own._bell)
        report = await client.close()
        with pytest.raises(StoppedError):
            await asks
        assert await asyncio.gather(*reads) == [[], []]
        assert report.all_confirmed
        assert await client.close() == report

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_nothing_running() -> None:
    async def main() -> None:
        (port,) = free_ports(1)
        config = MeshConfig(
            broker_url=f"amqp://guest:guest@{HOST}:{port}//",
            mesh_encryption_key=KEY,
            connection_attempts=1_000,
        )
        client = AsyncMeshClient(config)
        task = asyncio.create_task(client.start())
        await until(lambda: any(t.name.startswith("mesh-") for t in threading.enumerate()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, LIMIT_S)
        with pytest.raises(StoppedError):
            await client.start()

        other = AsyncMeshClient(config.overridden(connection_attempts=1))
        with pytest.raises(BrokerUnreachableError):
            await other.start()

    asyncio.run(main())


def test_another_loop_is_refused() -> None:
    mesh = MemoryMesh()
    calls: list[Callable[[AsyncMeshClient], Awaitable[object]]] = [
        lambda client: client.send(Message("knock")),
        lambda client: client.request(Message("knock"), 1.0),
        lambda client: client.start(),
        lambda client: client.close(),
    ]

    async def refused(client: AsyncMeshClient) -> None:
        for call in calls:
            with pytest.raises(WrongLoopError):
                await call(client)
        with pytest.raises(WrongLoopError):
            client.events("talk")

    async def main() -> None:
        async with AsyncMeshClient(mesh.config()) as client:
            await asyncio.to_thread(asyncio.run, refused(client))

    asyncio.run(main())


def test_a_call_amid_the_start_by_another_task_is_too_early() -> None:
    async def main() -> None:
        client = AsyncMeshClient(MemoryMesh().config())
        # As far as the start comes on the thread that waits for the broker
        await asyncio.to_thread(client._participant.start)
        with pytest.raises(NotStartedError, match="is being started"):
            await client.send(Message("knock"))
        await client.close()

    asyncio.run(main())


def test_calls_outside_its_life_and_what_the_broker_refuses_are_errors() -> None:
    async def main() -> None:
        client = AsyncMeshClient(MemoryMesh().config())
        with pytest.raises(NotStartedError):
            await client.send(Message("knock"))
        with pytest.raises(NotStartedError):
            client.events("talk")
        await client.start()
        with pytest.raises(RoutingKeyError):
            await anext(client.events("wrong*word"))
        await client.close()
        with pytest.raises(StoppedError):
            await client.request(Message("knock"), 1.0)

    asyncio.run(main())


def test_two_tasks_that_ask_one_stream_are_told_so() -> None:
    async def main() -> None:
        async with (
            AsyncMeshClient(MemoryMesh().config()) as client,
            client.events("talk") as events,
        ):
            task = asyncio.create_task(anext(events))
            await until(lambda: events._bell)
            with pytest.raises(StreamInUseError):
                await anext(events)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
