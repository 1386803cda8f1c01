"""All that reads bytes which others have written, a function for each kind of input.

Each takes any bytes, hands them to the code that a program would hand them to, and goes on with
what comes out as the program would. It lets out no error but the one that this code documents,
which it takes for an answer; anything else is a fault of the library.
"""

from __future__ import annotations

import io
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from miros_mesh.address import BrokerAddress, Endpoint
from miros_mesh.cli.letter_lines import (
    summary,
    write_facts,
    write_json,
    write_payload,
    write_table,
)
from miros_mesh.cli.snoop_lines import Printer
from miros_mesh.cli.trace_log import read_log
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.in_json import as_json, plain
from miros_mesh.dead_letters.letter import letter_of
from miros_mesh.discovery.safety.payloads import FORMS
from miros_mesh.discovery.signals import CACHE, CacheReadPayload
from miros_mesh.discovery.sources.alien_gate import AlienGate
from miros_mesh.discovery.sources.cache_file import expired
from miros_mesh.discovery.sources.json_file import ForeignFileError, JsonFile
from miros_mesh.discovery.sources.lan import is_cache, newest
from miros_mesh.discovery.sources.man_net import NO_LIST, hosts_in
from miros_mesh.errors import (
    AddressError,
    ConfigError,
    EmbeddedStoreError,
    EventTooLargeError,
    FrameError,
    MeshError,
    PayloadError,
    SecretFileError,
    TraceError,
)
from miros_mesh.networks.snoop.records import render
from miros_mesh.node import network_specs
from miros_mesh.observe.logs.ecs import from_ecs, to_ecs
from miros_mesh.observe.logs.snoop_log import read_snoop_log
from miros_mesh.observe.sequence.diagram import diagram
from miros_mesh.observe.sequence.forms import FORMATS
from miros_mesh.observe.snoop.monitor import SnoopMonitor
from miros_mesh.observe.snoop.overview import Overview
from miros_mesh.observe.snoop.selection import Selection
from miros_mesh.wire.ancestor.codec import TokenCodec
from miros_mesh.wire.ancestor.events import EventCodec
from miros_mesh.wire.ancestor.lines import LineCodec
from miros_mesh.wire.codec import FRAME_OVERHEAD_BYTES, Codec
from miros_mesh.wire.envelope import DeadLetter, Envelope, NodeStatus, Origin, SnoopRecord
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.key_file import KEY_FILE, load_or_create_keys
from miros_mesh.wire.keyring import KEY_BYTES, KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer
from miros_mesh.wire.typed_payloads import Payloads
from support.declared_types import Cat, Colour, Dog, Item, Level

# Not random: an input that failed has to fail again.
KEY: Final = urlsafe_b64encode(bytes(KEY_BYTES))
RING: Final = KeyRing([KEY])
NOW: Final = 1_800_000_000.0
TOPIC: Final = "heya.man"
PORT: Final = 5672
SPECS: Final[Sequence[network_specs.NetworkSpec[Any]]] = (
    network_specs.MESH,
    network_specs.SNOOP_TRACE,
    network_specs.SNOOP_SPY,
    network_specs.REPAIR,
    network_specs.STATUS,
    network_specs.LETTERS,
    network_specs.DEATHS,
    network_specs.MARKS,
)
MOST_VARIABLES: Final = 10
# Of the processor: the clock on the wall runs on while other programs have it.
LONGEST_S: Final = 1.0


class SlowError(Exception):
    """An input for which the library worked too long."""


class Form(NamedTuple):
    """How `contents` seals what it is given: which version, and the name of the network there."""

    version: int
    suffix: str


FORMS_OF_CONTENT: Final = (
    *(Form(1, ""), Form(2, ".2")),
    *(Form(number, f".{number}{plus}") for number in (3, 5) for plus in ("", "+", "++")),
)
"""By the lowest three bits of the second byte."""
WHOLE: Final = 16
"""The bit that says that the bytes are all of what is sealed."""
RECEIVED: Final = 8
"""The bit that says that they come from a broker."""


def codec_of(spec: network_specs.NetworkSpec[Any], ring: KeyRing = RING) -> Codec[Any]:
    """Return the codec of a network which takes frames of every version."""
    return Codec(
        spec.name,
        ring,
        spec.carries,
        max_frame_bytes=(spec.max_message_bytes or 1_000_000) + FRAME_OVERHEAD_BYTES,
        extended=spec.extended,
        old_frames="read",
        wall=lambda: NOW,
    )


def content_of(network: str, form: Form, messages: bytes) -> bytes:
    """Return what is sealed in a frame of these encoded messages."""
    name, raw = f"{network}{form.suffix}", msgspec.Raw(messages)
    head = (name, raw) if form.version < 3 else (name, "", TOPIC, NOW, raw)
    return msgspec.msgpack.encode(head)


# Types that a signal may carry, tried one after the other.
DECLARED: Final[tuple[Any, ...]] = (
    *(Item, Cat | Dog, Decimal, UUID, date, timedelta, set[Decimal], list[Item | None]),
    *(dict[UUID, list[Colour]], dict[int, Level], tuple[float, str], dict[str, set[Any]], Any),
)


class Readers:
    """The functions by kind of input; each returns whether the input was taken.

    `folder` is where files are written that the library then reads.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "input"
        self._codecs = [codec_of(spec) for spec in SPECS]
        self._serializer = MsgpackSerializer()
        self._ancestors: tuple[TokenCodec[Any], ...] = (
            EventCodec(
                RING,
                self._serializer,
                {},
                address=lambda: "10.0.0.1",
                max_event_bytes=1_000_000,
                max_bytes=8_000_000,
            ),
            LineCodec(RING, "trace", max_line_bytes=1_000_000, max_bytes=8_000_000),
            LineCodec(RING, "spy", max_line_bytes=1_000_000, max_bytes=8_000_000),
        )
        self._typed = {kind: Payloads(self._serializer, {"it": kind}) for kind in DECLARED}
        self._config = MeshConfig(
            broker_url="amqp://guest:guest@localhost//", mesh_encryption_key=KEY.decode()
        )
        self._overview = Overview(self._config)
        self.all: dict[str, Callable[[bytes], bool]] = {
            "frames": self.frames,
            "contents": self.contents,
            "payloads": self.payloads,
            "urls": self.urls,
            "settings": self.settings,
            "secrets": self.secrets,
            "hosts": self.hosts,
            "cache": self.cache,
            "trace": self.trace,
            "history": self.history,
            "ancestors": self.ancestors,
        }

    def read(self, kind: str, data: bytes) -> bool:
        """Read an input of a kind; raises `SlowError` besides what is a fault."""
        began = time.thread_time()
        taken = self.all[kind](data)
        took = time.thread_time() - began
        if took > LONGEST_S:
            raise SlowError(f"{len(data)} bytes took {took:.1f} s")
        return taken

    def frames(self, data: bytes) -> bool:
        """Read what a broker delivers; the first byte chooses the network."""
        codec = self._codecs[data[0] % len(SPECS) if data else 0]
        return self._opened(codec, data[1:], receive=True)

    def contents(self, data: bytes) -> bool:
        """Read what a holder of the key has sealed; two bytes choose the network and the form."""
        if len(data) < 2:
            return False
        place, how = data[0] % len(SPECS), data[1]
        form = FORMS_OF_CONTENT[how % 8]
        content = data[2:] if how & WHOLE else content_of(SPECS[place].name, form, data[2:])
        frame = RING.seal(content, form.version)
        return self._opened(self._codecs[place], frame, receive=bool(how & RECEIVED))

    def ancestors(self, data: bytes) -> bool:
        """Read what a node of miros-rabbitmq has pickled; the first byte chooses its network."""
        place = data[0] % len(self._ancestors) if data else 0
        codec: TokenCodec[Any] = self._ancestors[place]
        sealed = RING.seal_token(data[1:])
        try:
            arrived = codec.receive(sealed, TOPIC, Freshness(), again=False)
        except FrameError:
            return False
        for message in arrived.messages:
            if isinstance(message, SnoopRecord):
                render(message)
                to_ecs(message)
            else:
                self._serializer.loads(message.payload)
        return bool(arrived.messages)

    def payloads(self, data: bytes) -> bool:
        """Read an event's payload, and show it as `dead-letters show` does."""
        self._declared(data)
        try:
            payload = self._serializer.loads(data)
        except PayloadError:
            return False
        again = self._serializer.dumps(payload)
        assert self._serializer.dumps(self._serializer.loads(again)) == again
        with redirect_stdout(io.StringIO()):
            write_payload(payload)
            write_json([{"payload": plain(payload)}])
        return True

    def _declared(self, data: bytes) -> None:
        for payloads in self._typed.values():
            with suppress(PayloadError):
                value = payloads.loads("it", data)
                break
        else:
            return
        # What has arrived can be sent on.
        payloads.loads("it", payloads.dumps("it", value))

    def urls(self, data: bytes) -> bool:
        """Read the URL of a broker, a host with a port, and a claim of another node."""
        url, taken = data.decode(errors="surrogateescape"), False
        with suppress(AddressError):
            address = BrokerAddress.parse(url)
            assert repr(address)
            # What is shown is the same address, but for its password.
            shown = str(address).replace("@", ":x@", 1)
            assert BrokerAddress.parse(shown) == replace(address, password="x")
            taken = True
        with suppress(AddressError):
            endpoint = Endpoint.parse(url, PORT)
            assert Endpoint.parse(str(endpoint), 1) == endpoint
            assert endpoint.ip is None or endpoint.url
            taken = True
        # What a node says of where its broker is comes from whoever has the key.
        AlienGate(PORT, allowed=lambda _: True).admit(url)
        return taken

    def settings(self, data: bytes) -> bool:
        """Read variables of the environment, as `NAME=value`, with NUL between them."""
        pairs = [
            each.decode(errors="surrogateescape").partition("=")
            for each in data.split(b"\0", MOST_VARIABLES)
        ]
        # Which files such a variable may name is the machine's business; `secrets` has their text.
        environ = {name: text for name, _, text in pairs if not name.endswith("_FILE")}
        try:
            config = MeshConfig.from_env(environ)
        except ConfigError as error:
            return _refused(error)
        return bool(repr(config))

    def secrets(self, data: bytes) -> bool:
        """Read a file with a password, a URL or a key in it."""
        self._write(data)
        taken = False
        with suppress(SecretFileError, AddressError):
            assert str(BrokerAddress.parse(SecretFile(self._file).read()))
            taken = True
        names = ("BROKER_URL_FILE", "ENCRYPTION_KEY_FILE", "SNOOP_SPY_ENCRYPTION_KEY_FILE")
        with suppress(ConfigError):
            MeshConfig.from_env({f"MIROS_MESH_{name}": str(self._file) for name in names})
        key = self._folder / KEY_FILE
        key.write_bytes(data)
        key.chmod(0o600)
        with suppress(EmbeddedStoreError):
            assert all(len(key) == len(KEY) for key in load_or_create_keys(self._folder))
            taken = True
        return taken

    def hosts(self, data: bytes) -> bool:
        """Read a file of hosts."""
        self._write(data)
        file = JsonFile(self._file, default={"hosts": []}, foreign=NO_LIST)
        listed = self._cached(file).dict.get("hosts")
        if not isinstance(listed, list):
            return False
        hosts = hosts_in(listed, PORT, lambda number, problem: None)
        return bool([Endpoint.parse(host, PORT) for host in hosts])

    def cache(self, data: bytes) -> bool:
        """Read the file of found brokers, and write another search into it."""
        self._write(data)
        file = JsonFile(self._file, default={"searches": {}}, ours=is_cache, tidy=newest)
        cached = self._cached(file).dict
        assert is_cache(cached)
        search = {"addresses": ["10.0.0.1"], "found_at": NOW, "time_out_in_minutes": 30.0}
        with suppress(ForeignFileError):
            assert is_cache(file.merge({"searches": {"ours": search}}))
        assert is_cache(file.read().data)
        return bool(cached["searches"])

    def trace(self, data: bytes) -> bool:
        """Read a log, and draw it in every form."""
        self._write(data)
        try:
            records = read_log(str(self._file), lambda words: None)
            drawing = diagram(records, Selection())
        except TraceError as error:
            return _refused(error)
        return all(form.draw(drawing).encode() for form in FORMATS.values())

    def history(self, data: bytes) -> bool:
        """Read what `snoop --history` is given, and show it in both forms."""
        self._write(data)
        log = read_snoop_log(self._file)
        items = SnoopMonitor(self._config).replay(log.records)
        with redirect_stdout(io.StringIO()):
            for as_objects in (False, True):
                Printer(as_json=as_objects, color=True).show(items)
        return bool(log.records)

    def _write(self, data: bytes) -> None:
        self._file.write_bytes(data)

    def _cached(self, file: JsonFile) -> CacheReadPayload:
        """Return what the chart of a file publishes of it, as other charts read it."""
        content = file.read()
        payload = FORMS[CACHE](
            CacheReadPayload(
                dict=content.data,
                last_modified=content.modified_at,
                created_at=content.created_at,
                expired=expired(content),
                file_name=str(file.path),
                there=content.there,
                origin="",
            )
        )
        assert isinstance(payload, CacheReadPayload)
        return payload

    def _opened(self, codec: Codec[Any], frame: bytes, *, receive: bool) -> bool:
        try:
            if receive:
                freshness = Freshness(wall=lambda: NOW, steady=lambda: 0.0)
                messages = codec.receive(frame, TOPIC, freshness, again=False).messages
            else:
                messages = codec.open(frame)
        except FrameError as error:
            return _refused(error, error.reason)
        for message in messages:
            # A message that can be received can be sent, unless the frame was full of it.
            with suppress(EventTooLargeError):
                assert codec.encode(message)
            self._use(message)
        return True

    def _use(self, message: Origin) -> None:
        assert message.id in f"{message.id} {message!r}"
        match message:
            case Envelope():
                assert message.first_sent is None or message.cause
                with suppress(PayloadError):
                    self._serializer.loads(message.payload)
            case SnoopRecord():
                assert render(message, color=True).isascii() in (True, False)
                again = from_ecs(json.loads(json.dumps(to_ecs(message))))
                # ECS has times to the microsecond.
                assert _timeless(again) == _timeless(message)
            case NodeStatus():
                self._overview._take((message,))
                assert len(self._overview.nodes) == 1 - message.leaving
                self._overview._heard.clear()
            case DeadLetter():
                self._show(message)

    def _show(self, message: DeadLetter) -> None:
        letter = letter_of(b"sealed", "broker", message)
        with redirect_stdout(io.StringIO()):
            write_table([letter])
            write_facts(letter)
            write_json([as_json(letter)])
        assert summary(letter)


def _refused(error: MeshError, *says: str) -> bool:
    assert all((str(error), *says))
    return False


def _timeless(record: SnoopRecord) -> SnoopRecord:
    """Return a record without its time."""
    return msgspec.structs.replace(record, time=0.0)
