"""Where the server of the metrics can listen, and what it says where it cannot."""

from __future__ import annotations

from typing import Any

import pytest

from miros_mesh.errors import ListenError, PortInUseError
from miros_mesh.observe.http_server import listen
from support.rabbitmq_server import HOST


def test_a_port_in_use_is_named_with_what_to_do() -> None:
    with listen(0, HOST) as first:
        port = first.server_port
        with pytest.raises(
            PortInUseError, match=rf"port {port} of 127.0.0.1.*another port"
        ) as told:
            listen(port, HOST)
    # No second traceback stands above the one that tells what to do.
    assert told.value.__suppress_context__


@pytest.mark.parametrize(
    ("port", "address", "says"),
    [
        (70_000, HOST, "^70000 is no port: take a whole number from 0 to 65535$"),
        (-1, HOST, "^-1 is no port"),
        ("9465", HOST, "^'9465' is no port"),
        (None, HOST, "^None is no port"),
        (9465.0, HOST, "^9465.0 is no port"),
        (True, HOST, "^True is no port"),
        (0, "192.0.2.1", "192.0.2.1 cannot be listened at"),
        (0, "no such host", "no such host cannot be listened at"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(port: Any, address: str, says: str) -> None:
    with pytest.raises(ListenError, match=says):
        listen(port, address)
