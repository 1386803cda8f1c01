"""Log lines and snoop records as ECS JSON, one object a line, for Elasticsearch and Kibana."""

from miros_mesh.observe.logs.configure import configure_json, json_handler, log_snoop
from miros_mesh.observe.logs.ecs import from_ecs, to_ecs
from miros_mesh.observe.logs.snoop_log import SnoopLog, read_snoop_log

__all__ = [
    "SnoopLog",
    "configure_json",
    "from_ecs",
    "json_handler",
    "log_snoop",
    "read_snoop_log",
    "to_ecs",
]
