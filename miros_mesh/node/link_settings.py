"""What every connection of a node has in common, by the settings."""

from __future__ import annotations

from collections.abc import Callable

from miros_mesh.config.settings import MeshConfig
from miros_mesh.link.ports import Credentials, LinkSettings, as_given
from miros_mesh.observer import Observer


def link_settings(
    config: MeshConfig,
    *,
    node: str,
    exchanges: tuple[str, ...],
    observer: Observer,
    credentials: Credentials = as_given,
    more_exchanges: Callable[[], tuple[str, ...]] = tuple,
    transient_exchanges: tuple[str, ...] = (),
) -> LinkSettings:
    """Return the settings of a link: the exchanges are declared before anything is published.

    `transient_exchanges` are declared after the others, as not durable.
    """
    return LinkSettings(
        node=node,
        exchanges=(*exchanges, *transient_exchanges),
        observer=observer,
        attempts=config.connection_attempts,
        connect_timeout_s=config.connect_timeout_s,
        heartbeat_interval_s=config.heartbeat_interval_s,
        confirm_timeout_s=config.confirm_timeout_s,
        confirm_window=config.confirm_window,
        outbox_events=config.outbox_events,
        outbox_bytes=config.outbox_bytes,
        credentials=credentials,
        ca_file=config.broker_ca_file,
        cert_file=config.broker_cert_file,
        key_file=config.broker_key_file,
        more_exchanges=more_exchanges,
        transient_exchanges=transient_exchanges,
    )
