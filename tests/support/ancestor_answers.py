"""What became of each name in the documents of miros-rabbitmq, written by hand."""

from __future__ import annotations

from typing import Final

SAME: Final = "same name"

# Not the package's: of miros, of Python, of other packages, of the page's own markup.
_MIROS = """
ActiveObject ActiveObjects ENTRY_SIGNAL EXIT_SIGNAL Factory HsmWithQueue INIT_SIGNAL
SEARCH_FOR_SUPER_SIGNAL append_to_spy append_to_trace cancel_events clear_spy clear_trace create
deferred exit handler lan miros nest one_shot parent payload period post_fifo postfifo
register_live_spy_callback register_live_trace_callback return_status signal spy spy_on start_at
state status subscribe times to_method trace trans
"""
_OTHERS = """
AF_INET BlockingConnection ConnectionParameters False PlainCredentials RabbitMQ RabbitMq
SOCK_DGRAM ThreadQueue __init__ add_timeout basic_consume basic_publish block body callback_method
channel close connect connection credentials cryptography deadline decode decrypt dumps empty
encode encrypt exchange_declare exchange_type exclusive format functools generate_key get
getsockname key no_ack obj parameters pika port put pycrypto queue queue_bind queue_declare
randint replace run seed self sleep socket start start_consuming stop_consuming uuid4
"""
_MARKUP = """
allow back_to_the_example frameborder height how_it_works installing_infrastructure nVU8M8A73Jg
networked_instrumentation producer_design setting_up_rabbit_mq src subsubsection_titl width
"""
# What the example programs call their own things.
_EXAMPLES = """
LocalConsumer RabbitProducer _ao ao broadcast_spy broadcast_trace c1 c2 c_trace_consumer
c_trace_producer cache_file chart chart_name count custom_serializer cyphertext destination_ip
destination_port discovered foreign_hsm foreign_spy_item foreign_trace_item fun get_ip heya_man
inner inner_entry inner_exit inner_other_to_inner inner_other_to_outer inner_to_inner
inner_to_outer ip local_consumer make_name new_encryption_key on_inner_entry on_inner_exit
on_inner_other_to_inner on_inner_other_to_outer on_inner_to_inner on_inner_to_outer on_outer_init
on_outer_other_to_inner on_outer_to_inner other_to_inner other_to_outer outer outer_init
outer_other_to_inner outer_to_inner plain_text pobj producer_outer producer_outer_init
producer_refactory recce rx_routing scout scout1 sex_change some_state spy_callback spy_live
spy_queue_name spy_result strip_trace to_inner to_outer trace_callback trace_live trace_queue_name
trace_result tx_routing
"""
NOT_THE_PACKAGES: Final = frozenset((_MIROS + _OTHERS + _MARKUP + _EXAMPLES).split())

_SAME_NAMES = """
.miros_rabbitmq_hosts.json AMQPConsumerCheckPayload AMQP_CONSUMER_CHECK CACHE CACHE_FILE_READ
CACHE_FILE_WRITE CONNECTION_DISCOVERY CacheFileChart ConnectionDiscoveryPayload
EVALUATE_HOSTS_FILE ForeignHsm LAN_RECCE_COMPLETE LanChart LanRecceChart ManNetChart
NetworkedActiveObject NetworkedFactory ProducerFactoryChart ProducerQueue RECCE_LAN
REFACTOR_SEARCH RabbitConsumerScoutChart RecceNode amqp_urls arp_time_out arp_time_sec
cache_file_path connection_attempts consumer_test_complete dead_hosts default_json
discover_network enable_snoop_spy enable_snoop_spy_no_color enable_snoop_trace
enable_snoop_trace_no_color evaluate_network exchange exchange_name file_accessed file_read
file_write fill_arp_table identify_all_ip_addresses ip_address ip_addresses_found ips_discovered
lan_recce lan_recce_chart lan_recce_complete live_hosts live_spy live_trace man_net_chart
mesh_encryption_key mesh_exchange_name mesh_routing_key mesh_serialization_function
network_evaluated no_amqp_consumer_server_found post_to_queue private_search producer_discovery
producer_factory_chart producer_post_and_wait producer_queue producer_thread_engaged
rabbit_password rabbit_user read_and_evaluate_network_details read_successful ready recce_lan
recce_rabbit_consumers refactor_producers result routing_key rx_routing_key search searched
snoop_spy snoop_spy_encryption_key snoop_spy_exchange_name snoop_spy_routing_key snoop_trace
snoop_trace_encryption_key snoop_trace_exchange_name snoop_trace_routing_key time_out_in_minutes
transmit try_to_connect_to_consumer tx_routing_key write_successful
"""
_SAME: Final = frozenset(_SAME_NAMES.split())

_FACTORY = "gone: `QueueSink` makes every `Producer`, which connects to nothing"
_PIKA = "gone: the node's link publishes and consumes, with Kombu"
_NETS = "gone: the node does it, callbacks are arguments of a chart ([how](#in-place-of-mirosnets))"
_CHART = "gone: its methods are the chart's own"
_URLS = "gone: no URL with a password is kept; `live_hosts` and `dead_hosts` name host and port"
_SLIP = "a slip in the text"
_OLDER = "same name, an older one"

_CHANGED: Final = {
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


def answer(name: str) -> str | None:
    """What became of a name; None for one that was not the package's. Raises `KeyError`."""
    if name in NOT_THE_PACKAGES:
        return None
    return SAME if name in _SAME else _CHANGED[name]
