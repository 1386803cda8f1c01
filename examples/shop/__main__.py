"""Run the shop: five processes, orders over HTTP, and the end of one payment service amid them.

`make shop` does it by the embedded broker, `make shop BROKER=URL` by a RabbitMQ. With the name of a
service and a folder it is that service: order, payment, shipping or web.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from miros_mesh.cli.options import add_broker
from miros_mesh.wire.keyring import generate_key
from shop import service, web
from shop.books import Books

PROCESSES: Final = {
    "order": "order",
    "payment-1": "payment",
    "payment-2": "payment",
    "shipping": "shipping",
    "web": "web",
}
"""By their nodes."""
KILLED: Final = "payment-1"
CUSTOMERS: Final = 16
"""How many orders are placed at once."""
START_LIMIT_S: Final = 60.0
END_LIMIT_S: Final = 30.0
SHIP_LIMIT_S: Final = 30.0


@dataclass
class Result:
    """What became of the orders of a run."""

    orders: int
    states: Counter[str] = field(default_factory=Counter)
    """What the front said of each order: paid, unknown (a time-out), or an error."""
    charged_once: int = 0
    marked_repeats: int = 0
    """Orders that were charged again, each time marked as perhaps handled before."""
    unmarked_repeats: int = 0
    shipped: int = 0
    killed_by_then: int = 0
    """How many orders were answered when a payment service was killed."""

    @property
    def right(self) -> bool:
        """Whether every order was charged, once or with its repeat marked.

        And all were shipped whose receipt came in time; of the others the customer was told so.
        """
        charged = self.charged_once + self.marked_repeats
        told = self.states["paid"] + self.states["unknown"]
        return charged == told == self.orders and self.shipped == self.states["paid"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the shop or one of its services; 1 when the books do not agree."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] and given[0] in (*service.SERVICES, "web"):
        name, folder = given[0], Path(given[1])
        if name == "web":
            web.run(folder)
        else:
            service.run(name, folder)
        return 0
    options = _options(given)
    broker = "a RabbitMQ" if options.broker else "the embedded broker"
    print(
        f"{', '.join(PROCESSES)}: a process each, by {broker}.\n{options.orders} orders come over "
        f"HTTP; after half of them {KILLED} is killed.",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory(prefix="shop-") as made:
        folder = Path(made)
        with _processes(folder, options.broker) as running:
            result = _buy(folder, options.orders, running[KILLED], quiet=options.quiet)
    _show(result)
    return 0 if result.right else 1


def _options(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("shop", description="Run the shop, and look at its books.")
    add_broker(parser, "run by this RabbitMQ")
    parser.add_argument("--orders", type=int, default=400, help="how many (default: 400)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(given)
    if options.orders < 2:  # noqa: PLR2004
        parser.error("--orders: two at least, since a service is killed between them")
    return options


@contextmanager
def _processes(folder: Path, broker: str | None) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Start all of them; end them in good order, and those that do not end at once by force."""
    key = folder / "mesh.key"
    key.touch(0o600)
    key.write_bytes(generate_key())
    running: dict[str, subprocess.Popen[bytes]] = {}
    with ExitStack() as stack:
        for node, name in PROCESSES.items():
            environment = {
                **os.environ,
                "MIROS_MESH_NODE_NAME": f"shop-{node}",
                "MIROS_MESH_HOME": str(folder / "mesh"),
                "MIROS_MESH_ENCRYPTION_KEY_FILE": str(key),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            }
            if broker:
                environment["MIROS_MESH_BROKER_URL"] = broker
            command = [sys.executable, "-m", "shop", name, str(folder)]
            running[node] = subprocess.Popen(command, env=environment)  # noqa: S603  # ourselves
            stack.callback(_end, running[node])
        for node, process in running.items():
            _wait_for(
                (folder / f"shop-{node}.url").exists, START_LIMIT_S, f"{node} starts", process
            )
        yield running
        # All at once, and then one after the other is waited for.
        for process in running.values():
            process.terminate()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _buy(folder: Path, orders: int, victim: subprocess.Popen[bytes], *, quiet: bool) -> Result:
    front = (folder / "shop-web.url").read_text().removeprefix("http://")
    result, said = Result(orders), threading.Lock()

    def place(number: int) -> None:
        state = _placed(front, number)
        with said:
            result.states[state] += 1
            done = result.states.total()
            if done == orders // 2:
                # As a machine that loses its power; the other one goes on.
                victim.kill()
                result.killed_by_then = done
            if not quiet and (done % max(orders // 10, 1) == 0 or done == orders):
                print(f"{done} of {orders} orders", file=sys.stderr)

    with ThreadPoolExecutor(CUSTOMERS) as customers:
        list(customers.map(place, range(orders)))
    _count(folder, result)
    return result


def _placed(front: str, number: int) -> str:
    """Place an order, and return what is said of it."""
    items = [{"article": "tea", "amount": 1 + number % 3, "price": "3.20"}]
    body = json.dumps({"customer": f"customer-{number}", "items": items})
    # Longer than the front waits for an answer.
    connection = http.client.HTTPConnection(front, timeout=2 * web.PATIENCE_S)
    try:
        connection.request("POST", "/orders", body)
        answer = connection.getresponse()
        said = json.load(answer)
        return str(said["state"]) if "state" in said else f"HTTP {answer.status}"
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def _count(folder: Path, result: Result) -> None:
    """Look at the books, once all that was paid is shipped."""
    shipped = Books(folder / "shipping.books")
    paid = result.states["paid"]
    _wait_for(lambda: len(_distinct(shipped)) >= paid, SHIP_LIMIT_S, "all parcels are sent")
    result.shipped = len(_distinct(shipped))
    entries: dict[str, list[str]] = {}
    for order, _, mark in Books(folder / "payment.books").entries():
        entries.setdefault(order, []).append(mark)
    for marks in entries.values():
        if len(marks) == 1:
            result.charged_once += 1
        elif marks.count("") <= 1:
            result.marked_repeats += 1
        else:
            result.unmarked_repeats += 1


def _distinct(books: Books) -> set[str]:
    return {entry[0] for entry in books.entries()}


def _wait_for(
    done: Callable[[], bool],
    limit_s: float,
    what: str,
    process: subprocess.Popen[bytes] | None = None,
) -> None:
    end_by, tick = time.monotonic() + limit_s, threading.Event()
    while not done():
        if time.monotonic() > end_by or (process and process.poll() is not None):
            sys.exit(f"shop: in vain waited until {what}")
        tick.wait(0.05)


def _show(result: Result) -> None:
    rows = {
        "orders": result.orders,
        f"answered when {KILLED} was killed": result.killed_by_then,
        "charged once": result.charged_once,
        "charged again, and marked": result.marked_repeats,
        "charged again, not marked": result.unmarked_repeats,
        "shipped": result.shipped,
        "time-outs": result.states["unknown"],
        **{state: n for state, n in result.states.items() if state not in {"paid", "unknown"}},
    }
    width = max(map(len, rows))
    for what, times in rows.items():
        print(f"{what:<{width}}  {times:>6,}")
    print("The books agree." if result.right else "The books do not agree.")


if __name__ == "__main__":
    sys.exit(main())
