"""What to change in one Python source of miros-rabbitmq: found in its syntax tree, and not run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from miros_mesh.cli.migrate.names import CHANGED
from miros_mesh.text import printable

PACKAGE: Final = "miros_rabbitmq"
_CHARTS: Final = frozenset({"NetworkedActiveObject", "NetworkedFactory"})
_MODULES: Final = {
    **dict.fromkeys(_CHARTS, "miros_mesh"),
    "CacheFileChart": "miros_mesh.discovery.sources.cache_file",
    "LanChart": "miros_mesh.discovery.sources.lan",
    "LanRecceChart": "miros_mesh.discovery.sources.lan_recce",
    "ManNetChart": "miros_mesh.discovery.sources.man_net",
    "ProducerFactoryChart": "miros_mesh.discovery.producer_factory",
    "RabbitConsumerScoutChart": "miros_mesh.discovery.scout",
}
# The first three stand at the same places, and the next not: ours has the keys after the topics.
_SAME_PLACES: Final = 3
# What any class may have, and so says nothing of miros-rabbitmq.
_COMMON: Final = frozenset(
    {"connect_error", "heartbeat_interval", "message_callback", "on_message", "producer"}
    | {"producers", "start_threads", "stop_threads", "timeout_callback"}
)
_OLDER: Final = frozenset({"trace_snoop_encryption_key", "spy_snoop_encryption_key"})
_CALLBACKS: Final = {
    "on_network_message": "a function, given to the chart as on_mesh_rx=: it gets the event",
    "on_network_trace_message": "a function, given to the chart as on_trace_rx=: it gets a record",
    "on_network_spy_message": "a function, given to the chart as on_spy_rx=: it gets a record",
}
_MARKUP: Final = re.compile(r"`| \(\[how\]\(.*?\)\)")


class Finding(NamedTuple):
    """A place in a file, and what is to be said of it."""

    line: int
    text: str
    change: bool
    """Whether it has to be changed, and does not merely carry over."""


def findings(source: str) -> list[Finding]:
    """Return what is to be said of a source, in the order of its lines.

    Nothing for one that does not import miros-rabbitmq. Raises `SyntaxError` for what this Python
    cannot read. Quotes nothing but names.
    """
    tree = ast.parse(source)
    if not any(_is_import(node) for node in ast.walk(tree)):
        return []
    found = [each for node in ast.walk(tree) for each in _of(node)]
    return sorted(set(found))


def _is_import(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").partition(".")[0] == PACKAGE
    return isinstance(node, ast.Import) and any(_is_package(each.name) for each in node.names)


def _is_package(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _of(node: ast.AST) -> Iterator[Finding]:
    match node:
        case ast.ImportFrom() | ast.Import() if _is_import(node):
            yield from _imports(node)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            if name in CHANGED and name not in _COMMON and name != PACKAGE:
                yield Finding(node.lineno, f"{name}: {_plain(CHANGED[name])}", True)
        case ast.Call():
            yield from _call(node)
        case ast.FunctionDef(name=name) if name in _CALLBACKS:
            yield Finding(node.lineno, f"{name} -> {_CALLBACKS[name]}", True)


def _imports(node: ast.ImportFrom | ast.Import) -> Iterator[Finding]:
    for each in node.names:
        if isinstance(node, ast.ImportFrom):
            yield _imported(node.lineno, each.name)
        elif _is_package(each.name):
            yield Finding(node.lineno, f"import {each.name} -> import miros_mesh", True)


def _imported(line: int, name: str) -> Finding:
    if name in _MODULES:
        text = f"from {PACKAGE} import {name} -> from {_MODULES[name]} import {name}"
    elif name in CHANGED:
        text = f"{name}: {_plain(CHANGED[name])}"
    else:
        text = f"{printable(name)} is not here; docs/from-miros-rabbitmq.md has every public name"
    return Finding(line, text, True)


def _call(node: ast.Call) -> Iterator[Finding]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in node.keywords:
        if keyword.arg in _OLDER:
            text = f"{keyword.arg} carries over: {_plain(CHANGED[keyword.arg])}"
            yield Finding(keyword.value.lineno, text, False)
        elif name in _CHARTS and keyword.arg in CHANGED:
            text = f"{keyword.arg}=: {_plain(CHANGED[keyword.arg])}"
            yield Finding(keyword.value.lineno, text, True)
        if name in _CHARTS and keyword.arg == "rabbit_password" and _is_text(keyword.value):
            text = (
                "rabbit_password carries over; rather read it from the environment, or from a file "
                "(MIROS_MESH_RABBIT_PASSWORD_FILE), than write it into a source"
            )
            yield Finding(keyword.value.lineno, text, False)
    if name in _CHARTS and len(node.args) > _SAME_PLACES:
        text = (
            f"{name}: give the arguments after the third by name (mesh_encryption_key=, "
            "tx_routing_key=, rx_routing_key=): they stand in another order here"
        )
        yield Finding(node.lineno, text, True)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _plain(answer: str) -> str:
    return _MARKUP.sub("", answer)
