"""Any chart of a program may publish anything under a public signal of discovery."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from enum import Enum, member
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miros import ActiveObject, Event

from miros_mesh.address import Endpoint
from miros_mesh.discovery import signals
from miros_mesh.discovery.discovery import Discovery
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from support import discovery_field
from support.discovery_field import EXCHANGE, ROUTING_KEY, Brokers, Diary, Network, Sink
from support.waiting import wait_until

LISTED, NEAR, NAMED = "192.168.1.10", "192.168.1.20", "192.168.1.30"
LIMIT_S = 60.0


class Names:
    """A name server whose one name stands for what a test says."""

    def __init__(self) -> None:
        self.hosts: list[str] = [NAMED]

    def endpoints(self, name: str, default_port: int) -> list[Endpoint]:
        return [Endpoint(host, default_port) for host in self.hosts]


class Field:
    """A whole discovery, on all of its sources, and a program's chart beside it."""

    def __init__(self, folder: Path) -> None:
        self.hosts_file, self.cache = folder / "hosts.json", folder / "cache.json"
        self.brokers, self.sink, self.diary = Brokers(), Sink(), Diary()
        self.network, self.names = Network(NEAR), Names()
        self.brokers.ours(LISTED, NEAR, NAMED)
        self.list_hosts(LISTED)
        self.discovery = Discovery(
            discovery_field.settings(
                sources=("manual", "lan", "dns"),
                hosts_files=(self.hosts_file,),
                cache_path=self.cache,
                dns_names=("a.name",),
                dns_interval_s=0.1,
                look_again_s=(0.05, 0.1),
            ),
            probe=self.brokers,
            sink=self.sink,
            observer=self.diary,
            scanner=self.network,
            name_service=self.names,
        )
        self.discovery.start()
        self.program = ActiveObject("program")
        self.wait_for(LISTED, NEAR, NAMED)

    def list_hosts(self, *hosts: str) -> None:
        new = self.hosts_file.with_suffix(".new")
        new.write_text(json.dumps({"hosts": hosts}))
        new.replace(self.hosts_file)

    def wait_for(self, *hosts: str) -> None:
        wanted = {f"{host}:5672" for host in hosts}
        wait_until(lambda: wanted <= self.sink.peers, LIMIT_S, message=f"{wanted} found")

    def publish(self, signal: str, payload: Any = None) -> None:
        """As `chart.publish` does, without a chart that has to be instrumented."""
        self.program.fabric.publish(Event(signal=signal, payload=payload))

    def check(self) -> None:
        """All sources find brokers that they did not know, and no chart has died."""
        number = len(self.sink.told)
        listed, near, named = (f"10.{kind}.{number // 250}.{number % 250}" for kind in (1, 2, 3))
        self.brokers.ours(listed, near, named)
        self.list_hosts(listed)
        self.network.answering = [near]
        self.names.hosts = [named]
        wanted = {f"{host}:5672" for host in (listed, near, named)}
        asked_at = 0.0

        def found() -> bool:
            nonlocal asked_at
            # Again and again: what was published is in the cache for a while, as if it were true.
            if time.monotonic() > asked_at + 0.5:
                asked_at = time.monotonic()
                self.cache.unlink(missing_ok=True)
                self.publish(signals.CACHE_FILE_READ)
            return wanted <= self.sink.peers

        self.publish(signals.EVALUATE_HOSTS_FILE)
        wait_until(found, LIMIT_S, message=f"{wanted} found")
        assert self.diary.deaths == []


@contextmanager
def searching() -> Iterator[Field]:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        discovery_field.switch_on(patch)
        made = Field(Path(folder))
        try:
            yield made
        finally:
            made.discovery.stop()


@pytest.fixture
def field() -> Iterator[Field]:
    with searching() as made:
        yield made


class Odd(NamedTuple):
    origin: Any = None
    ip_address: Any = None


class Raises:
    """Whatever is asked of it, it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise SystemExit(name)

    def __eq__(self, _: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("no")


class RaisingMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise OSError(key)

    def __iter__(self) -> Iterator[str]:
        raise OSError("no")

    def __len__(self) -> int:
        raise OSError("no")


class RaisingText(str):
    __slots__ = ()

    def __eq__(self, _: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")


PAYLOADS = (
    signals.ConnectionDiscoveryPayload,
    signals.CacheReadPayload,
    signals.CacheFileReadPayload,
    signals.CacheWritePayload,
    signals.AMQPConsumerCheckPayload,
    signals.RefactorSearchPayload,
    signals.RequestPayload,
    signals.RecceCompletePayload,
)
TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from([LISTED, NEAR, NAMED, "cache.json", "a b", "x" * 5_000])
)


class Hostile(Enum):
    """Stands for objects that Hypothesis itself could not bear, until they are published."""

    RAISES = Raises
    MAPPING = RaisingMapping
    TEXT = RaisingText
    OBJECT = object
    COMPLEX = complex
    BYTES = bytes
    HUGE_TEXT = member(partial(str.__mul__, "x", 6_000_000))
    HUGE_LIST = member(partial(list[int], range(300_000)))
    HUGE_DICTIONARY = member(partial(dict.fromkeys, map(str, range(100_000))))


def real(value: Any) -> Any:
    """With the hostile objects themselves."""
    if isinstance(value, Hostile):
        return value.value()
    if isinstance(value, Odd):
        return Odd(*map(real, value))
    if isinstance(value, dict):
        return {key: real(each) for key, each in value.items()}
    if isinstance(value, list):
        return [real(each) for each in value]
    if isinstance(value, PAYLOADS):
        return type(value)(**{e.name: real(getattr(value, e.name)) for e in fields(value)})
    return value


HOSTILE = st.sampled_from(Hostile)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, HOSTILE, st.just(10**400)
)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXTS, inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["searches", "hosts", "dict", "origin", "addresses", "ip_address"]),
            inner,
            max_size=3,
        ),
        st.builds(Odd, inner, inner),
        st.sets(st.integers(), max_size=2),
    ),
    max_leaves=6,
)


@st.composite
def of_a_class(draw: st.DrawFn) -> Any:
    """A payload of one of the classes, with anything in some of its fields."""
    kind = draw(st.sampled_from(PAYLOADS))
    good: dict[str, Any] = {
        "dict": {"searches": {}},
        "hosts": (LISTED,),
        "amqp_urls": (),
        "dead": (),
        "other_addresses": (NEAR,),
        "last_modified": 0.0,
        "created_at": 0.0,
        "expired": False,
        "result": True,
        "origin": "",
    }
    names = [each.name for each in fields(kind) if each.name not in ("there", "verdict", "seconds")]
    odd = draw(st.sets(st.sampled_from(names), max_size=2))
    return kind(**{n: draw(ANY) if n in odd else good.get(n, "cache.json") for n in names})


@settings(max_examples=30, deadline=None)
@given(
    published=st.lists(
        st.tuples(st.sampled_from(sorted(signals.PUBLIC)), st.one_of(ANY, of_a_class())),
        min_size=1,
        max_size=12,
    )
)
def test_any_public_signal_with_any_payload_leaves_discovery_alive_and_working(
    published: list[tuple[str, Any]],
) -> None:
    # A discovery for each, since its threads must not draw random numbers while Hypothesis does.
    with searching() as field:
        for signal, payload in published:
            field.publish(signal, real(payload))
        field.check()


@pytest.mark.parametrize(
    ("signal", "payload"),
    [
        ("CACHE", None),
        ("AMQP_CONSUMER_CHECK", {"ip_address": LISTED}),
        ("CACHE_FILE_WRITE", None),
        ("LAN_RECCE_COMPLETE", None),
        ("LAN_RECCE_COMPLETE", signals.RecceCompletePayload(("a b",), "")),
        ("CONNECTION_DISCOVERY", 5),
        ("RECCE_LAN", 5),
        ("EVALUATE_HOSTS_FILE", 5),
        ("CACHE_FILE_READ", 5),
    ],
)
def test_a_signal_that_killed_charts_is_refused_and_said(
    field: Field, signal: str, payload: object, caplog: pytest.LogCaptureFixture
) -> None:
    field.publish(signal, payload)
    if signal != "LAN_RECCE_COMPLETE":
        # The chart of the local network takes that only while it searches.
        wait_until(lambda: f"a {signal} is ignored: its payload is " in caplog.text)
    field.check()


def test_a_dictionary_to_be_written_goes_into_the_cache_and_not_into_the_hosts_file(
    field: Field,
) -> None:
    before = field.hosts_file.read_text()
    field.publish("CACHE_FILE_WRITE", {"addresses": ["192.168.1.75"], "time_out_in_minutes": 30})
    wait_until(
        lambda: (
            field.cache.exists()
            and json.loads(field.cache.read_text()).get("addresses") == ["192.168.1.75"]
        )
    )
    assert field.hosts_file.read_text() == before
    field.check()


def test_the_hosts_file_is_evaluated_after_a_write_of_another_kind(field: Field) -> None:
    field.publish("CACHE_FILE_WRITE", {"searches": 5})
    field.publish("CACHE_FILE_WRITE", {"dict": {"a": 1}, "file_name": "another"})
    field.publish("EVALUATE_HOSTS_FILE")
    field.check()
    # `check` deletes the file, and need not wait until it is written again.
    assert not field.cache.exists() or json.loads(field.cache.read_text())["searches"] != 5


def test_a_scout_whose_search_is_refactored_without_a_payload_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    brokers, diary = Brokers(), Diary()
    scout = RabbitConsumerScoutChart(
        LISTED, ROUTING_KEY, EXCHANGE, probe=brokers, timeout_s=2.0, observer=diary
    )
    with discovery_field.running(scout):
        wait_until(lambda: brokers.asked == [LISTED])
        discovery_field.publish(scout, "REFACTOR_SEARCH")
        wait_until(lambda: "a REFACTOR_SEARCH is ignored: its payload is NoneType" in caplog.text)
        search = {"ip_address": NEAR, "routing_key": ROUTING_KEY, "exchange_name": EXCHANGE}
        discovery_field.publish(scout, "REFACTOR_SEARCH", search)
        wait_until(lambda: brokers.asked == [LISTED, NEAR])
    assert diary.deaths == []


def test_what_is_refused_often_is_said_once_with_its_number_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    brokers = Brokers()
    scout = RabbitConsumerScoutChart(
        LISTED, ROUTING_KEY, EXCHANGE, probe=brokers, timeout_s=2.0, observer=Diary()
    )
    with discovery_field.running(scout):
        for _ in range(5):
            scout.tell("REFACTOR_SEARCH")
        wait_until(lambda: not len(scout.queue))
        wait_until(lambda: len(caplog.records) == 1)
        scout.entrance._said._next.clear()
        scout.tell("REFACTOR_SEARCH")
        wait_until(lambda: len(caplog.records) == 2)
    assert "(5 of them since this was said)" in caplog.records[1].getMessage()
