"""The way of an event through the code: edit `STEPS` when the code goes another way.

Each step names what does it; a name that does not exist any more is an error.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter

from miros_mesh.charts.fifo import HIGH_WATER
from support import svg

SENDER, PUBLISHER, BROKER, SUBSCRIBER, CHART = range(5)
LANES = (
    "the one that calls",
    "mesh-<node>-publisher-<broker>",
    "the broker",
    "mesh-<node>-subscriber",
    "the chart's own",
)


@dataclass(frozen=True)
class Step:
    """What `does` is at most some thirty characters; `detail` goes into the table of the page."""

    lane: int
    code: str
    """`module:name`, the module without the package; or words, where other programs do it."""
    does: str
    detail: str
    after: int = -1
    """The number of the step that leads to it, when that is not the one before."""
    back: bool = False
    """Whether it is an answer on its way back."""

    @property
    def name(self) -> str:
        """The class or method, which has to be there."""
        _, _, name = self.code.rpartition(":")
        if self.module:
            attrgetter(name)(importlib.import_module(f"miros_mesh.{self.module}"))
        return name

    @property
    def module(self) -> str:
        """Where it stands; empty for what is no code of the package."""
        return self.code.rpartition(":")[0]


STEPS = (
    Step(
        SENDER,
        "charts.networked:NetworkedActiveObject.transmit",
        "refuses what may not travel",
        "Signals of miros and of the library are refused. Errors of the program are raised here "
        "and in the next two steps.",
    ),
    Step(
        SENDER,
        "networks.mesh:Mesh.transmit",
        "event to envelope",
        "The payload is encoded and checked, and put into an *envelope* with node, chart, "
        "incarnation and cause.",
    ),
    Step(
        SENDER,
        "networks.network:Network.send",
        "envelope into a frame",
        "The envelope gets its number, and joins the newest *frame*, or begins one.",
    ),
    Step(
        SENDER,
        "link.outbox:Outbox.put",
        "frame waits, as a parcel",
        "The frame waits in the outbox of each broker, which is bounded and calls it a *parcel*. "
        "`transmit` returns. (While nothing waits, and the broker owes no answer, steps 5 to 7 are "
        "done before that, by the calling thread.)",
    ),
    Step(
        PUBLISHER,
        "link.outbox:Outbox.take",
        "takes parcels in order",
        "The publisher takes the parcel, with up to `confirm_window` on their way.",
    ),
    Step(
        PUBLISHER,
        "networks.frame:Frame.seal",
        "closes and seals the frame",
        "It is closed and sealed once, whatever the number of brokers.",
    ),
    Step(
        PUBLISHER,
        "link.publisher:BrokerPublisher",
        "publishes it, persistent",
        "It is published, persistent unless it holds requests or replies. If the connection breaks "
        "before the confirm, it is published again, in order.",
    ),
    Step(
        BROKER,
        "exchange and queues",
        "stores it in each queue",
        "The broker stores it in every queue whose pattern matches the routing key.",
    ),
    Step(
        PUBLISHER,
        "link.outbox:Outbox.confirm",
        "confirmed",
        "The broker confirms, and the parcel leaves the outbox.",
        back=True,
    ),
    Step(
        SUBSCRIBER,
        "link.subscriber:BrokerSubscriber",
        "delivery",
        "The broker sends a *delivery* to the node that consumes the queue, with up to "
        "`prefetch_frames` ahead.",
        after=8,
    ),
    Step(
        SUBSCRIBER,
        "networks.network:Network.open",
        "opens the frame",
        "The frame is opened into envelopes, [once](decisions/opened-once.md) for all charts of "
        "the node that get it; one that cannot be is rejected and counted.",
    ),
    Step(
        SUBSCRIBER,
        "networks.inbox:Inbox.receive",
        "no copies, in order: arrivals",
        "Echoes and duplicates are dropped. The rest becomes *arrivals*, each sender's in order, "
        "and a whole frame at once where its turn has come: later ones wait for an earlier one "
        "that is missing, which is [asked for](decisions/repair.md).",
    ),
    Step(
        SUBSCRIBER,
        "charts.intake:Intake.post",
        "posts into the FIFO",
        f"Arrivals are posted while fewer than {HIGH_WATER} events wait in the chart's FIFO. That "
        "of miros holds 500 and overwrites without a word when it is full. (Behind a slow chart "
        "its own thread posts, whenever it has handled sixteen.)",
    ),
    Step(
        CHART,
        "charts.fifo:ChartQueue.popleft",
        "arrival to event",
        "The chart takes it, as a miros *event*, and its handler runs.",
    ),
    Step(
        CHART,
        "networks.inbox:Inbox.finished",
        "handled",
        "The event was run to completion; with the last one of the frame its delivery is settled.",
    ),
    Step(
        SUBSCRIBER,
        "link.ports:Delivery.ack",
        "acknowledged",
        "The subscriber is woken and acknowledges the frame; the broker forgets it.",
        back=True,
    ),
)

_MARGIN, _BOX_WIDTH, _BOX_HEIGHT, _LANE, _ROW, _HEAD = 20, 230, 50, 160, 62, 62
_WIDTH = 2 * _MARGIN + _BOX_WIDTH + _LANE * (len(LANES) - 1)
_PROCESSES = ("sender", "sender", "", "receiver", "receiver")


def table() -> str:
    """The steps with the thread that runs each."""
    rows = [
        f"| {number} | {_code(step)} | {LANES[step.lane]} | {step.detail} |"
        for number, step in enumerate(STEPS, start=1)
    ]
    return "\n".join(
        ["| step | code | thread | what happens |", "| --- | --- | --- | --- |", *rows]
    )


def picture() -> str:
    """A thread a column, a step a row; answers on their way back are dashed."""
    height = _HEAD + _ROW * len(STEPS)
    shapes = list(_lanes(height))
    for row, step in enumerate(STEPS):
        shapes += _arrow(step, row) if row else ()
    for row, step in enumerate(STEPS):
        shapes += _box(step, row)
    title = "The way of an event, from transmit to its acknowledgement"
    return svg.drawing(title, _WIDTH, height, shapes)


def _code(step: Step) -> str:
    return f"`{step.name}` in `{step.module}`" if step.module else step.name


def _centre(lane: int) -> float:
    return _MARGIN + _BOX_WIDTH / 2 + _LANE * lane


def _top(row: int) -> float:
    return _HEAD + _ROW * row


def _lanes(height: float) -> Iterator[str]:
    for lane, (thread, process) in enumerate(zip(LANES, _PROCESSES, strict=True)):
        x = _centre(lane)
        yield svg.text(x, 18, thread.removeprefix("mesh-<node>-"), "name middle")
        yield svg.text(x, 38, process and f"the {process}'s process", "middle")
        yield svg.path(f"M{x:g} {_HEAD - 12}V{height - 8:g}", "life")


def _arrow(step: Step, row: int) -> Iterator[str]:
    """Down from the step before, and then to the side if the next thread is another."""
    before = step.after - 1 if step.after > 0 else row - 1
    x, y = _centre(STEPS[before].lane), _top(before) + _BOX_HEIGHT
    style = "back" if step.back else "line"
    if step.lane == STEPS[before].lane:
        yield svg.path(f"M{x:g} {y:g}V{_top(row) - 1:g}", style)
    else:
        side = 1 if step.lane > STEPS[before].lane else -1
        edge = _centre(step.lane) - side * (_BOX_WIDTH / 2 + 1)
        yield svg.path(f"M{x:g} {y:g}V{_top(row) + _BOX_HEIGHT / 2:g}H{edge:g}", style)


def _box(step: Step, row: int) -> Iterator[str]:
    x, y = _centre(step.lane), _top(row)
    yield svg.box(x - _BOX_WIDTH / 2, y, _BOX_WIDTH, _BOX_HEIGHT)
    yield svg.text(x, y + 11, f"{row + 1}. {step.does}", "middle")
    yield svg.text(x, y + 26, step.name, "code middle")
    yield svg.text(x, y + 40, step.module, "middle")
