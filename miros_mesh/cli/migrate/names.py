"""What became of each name of miros-rabbitmq that is not the same here, for pages and terminals."""

from __future__ import annotations

from typing import Final

_FACTORY = "gone: `QueueSink` makes every `Producer`, which connects to nothing"
_PIKA = "gone: the node's link publishes and consumes, with Kombu"
_NETS = "gone: the node does it, callbacks are arguments of a chart ([how](#in-place-of-mirosnets))"
_CHART = "gone: its methods are the chart's own"
_URLS = "gone: no URL with a password is kept; `live_hosts` and `dead_hosts` name host and port"
_SLIP = "a slip in the text"
_OLDER = "same name, an older one"

CHANGED: Final = {
    ".env": "read when asked, as `env_file` of `from_env`; never at import",
    ".miros_rabbitmq_cache_file_chart": f"{_SLIP} for the hosts file",
    ".miros_rabbitmq_hosts": f"{_SLIP} for `.miros_rabbitmq_hosts.json`",
    ".miros_rabbitmq_lan_cache.json": "new name: `.miros_mesh_lan_cache.json`, of another form",
    "AMPQ_URL": "new name: `Endpoint`",
    "AMPQ_URLS": "new name: `Endpoint`",
    "ARP_FILL_TIME_OUT": "new name: `arp_time_out`, as in the trace",
    "LanRecce": _CHART,
    "LocalAreaNetwork": "new name: `LanRecceChart`",
    "MeshProducerFactory": _FACTORY,
    "MirosNet": f"{_SLIP} for MirosNets",
    "MirosNets": _NETS,
    "MirosNetsInterface": _NETS,
    "MirosRabbitManualNetwork": _CHART,
    "NetworkedActiveObjects": "several `NetworkedActiveObject`",
    "PikaTopicConsumer": _PIKA,
    "PikaTopicPublisher": _PIKA,
    "ProducerFactory": _FACTORY,
    "ProducerFactoryAggregator": _CHART,
    "RECCEN_LAN": f"{_SLIP} for `RECCE_LAN`",
    "RabbitConsumerScout": _CHART,
    "RabbitScout": "an older name of what `ManNetChart` and `LanChart` do",
    "RabbitTopicPublisherMaker": "new name: `LinkProbe`, the `probe` of a scout",
    "RabbitTopidPublisherMaker": f"{_SLIP} for RabbitTopicPublisherMaker",
    "RecceNodes": "several `RecceNode`",
    "SimplePikaTopicConsumer": _PIKA,
    "SimplePikaTopicPublisher": _PIKA,
    "SnoopSpyProducerFactory": _FACTORY,
    "SnoopTraceProducerFactory": _FACTORY,
    "candidiate_ip_addresses": "new name: `lan_candidates`, with the right letters",
    "connect_error": "new name: `verdict`",
    "dead_amqp_urls": _URLS,
    "enable_snoop_snoop": f"{_SLIP} for `enable_snoop_spy`, as the error says",
    "file_arp_table": f"{_SLIP} for `fill_arp_table`",
    "get_working_ip_address": "new name: `working_address`",
    "heartbeat_interval": "new name: `heartbeat_interval_s`",
    "ip_address_found": f"{_SLIP} for `ip_addresses_found`",
    "ip_addresses": "new name: `peers` of `Discovery`",
    "list_amqp_urls": _URLS,
    "live_amqp_urls": _URLS,
    "make_mesh_producers": _FACTORY,
    "make_snoop_spy_producers": _FACTORY,
    "make_snoop_trace_producers": _FACTORY,
    "mesh_encyption_key": f"{_SLIP} for `mesh_encryption_key`",
    "message_callback": "new name: `on_mesh_rx`, `on_trace_rx`, `on_spy_rx`",
    "miros_rabbitmq": "new name: `miros_mesh`",
    "on_message": "new name: `on_mesh_rx`",
    "on_network_trace_message": "new name: `on_trace_rx`",
    "ping_to_fill_arp_table": "new name: `scan` of `TcpScanner`, without a ping",
    "producer": "new name: `Producer`; a scout has a `probe` in its place",
    "producer_heart_beat": "gone: nothing polls, an event leaves at once",
    "producers": "gone: the node's publishers, one for each broker",
    "producers_queue": _NETS,
    "produer": f"{_SLIP} for producer",
    "publish_message": _PIKA,
    "spy_snoop_encryption_key": f"{_OLDER} of `snoop_spy_encryption_key`",
    "start_threads": "gone: publishers come and go by themselves",
    "stop_threads": "gone: publishers come and go by themselves",
    "timeout_callback": _PIKA,
    "timeout_callback_method": _PIKA,
    "trace_snoop_encryption_key": f"{_OLDER} of `snoop_trace_encryption_key`",
    "update_producers": "gone: publishers come and go by themselves",
}
