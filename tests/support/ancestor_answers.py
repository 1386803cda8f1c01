"""What became of each name in the documents of miros-rabbitmq, written by hand."""

from __future__ import annotations

from typing import Final

from miros_mesh.cli.migrate.names import CHANGED

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

_CHANGED: Final = CHANGED


def answer(name: str) -> str | None:
    """What became of a name; None for one that was not the package's. Raises `KeyError`."""
    if name in NOT_THE_PACKAGES:
        return None
    return SAME if name in _SAME else _CHANGED[name]
