"""What enters the mailbox of a chart of discovery."""

from __future__ import annotations

from types import SimpleNamespace

from miros import Event

from miros_mesh.discovery.safety.mailbox import DiscoveryMailbox

SIGNAL = "CONNECTION_DISCOVERY"


def event(origin: str | None = None) -> Event:
    return Event(signal=SIGNAL, payload=SimpleNamespace(origin=origin))


def test_events_of_other_nodes_do_not_enter() -> None:
    box, other = DiscoveryMailbox("chart", "mine"), event("yours")
    assert box.put(other) is other
    box.append(Event(signal=SIGNAL, payload={"origin": "yours"}))
    assert len(box) == 0


def test_events_of_this_node_and_of_no_node_enter_in_order() -> None:
    box = DiscoveryMailbox("chart", "mine")
    events = [event("mine"), event(), Event(signal=SIGNAL), Event(signal=SIGNAL, payload={})]
    for each in events:
        box.append(each)
    assert [box.popleft() for _ in range(4)] == events


def test_a_full_mailbox_drops_the_newest_and_says_so_once(caplog) -> None:
    box = DiscoveryMailbox("chart", "mine")
    first = event()
    box.append(first)
    for _ in range(600):
        box.append(event())
    assert len(box) == 500
    assert box.popleft() is first
    assert caplog.text.count("chart of discovery is flooded") == 1


def test_a_closed_mailbox_is_not_a_flooded_one(caplog) -> None:
    box = DiscoveryMailbox("chart", "mine")
    box.close()
    box.append(event())
    assert caplog.text == ""
