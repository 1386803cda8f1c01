"""What to change in one Python source of miros-rabbitmq: found in its syntax tree, and not run."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Collection, Iterator
from typing import Final, NamedTuple

from miros_mesh.cli.migrate.names import CHANGED
from miros_mesh.config.environment import ANCESTOR_NAMES
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
_LOADS: Final = "load_dotenv"
_DOTTED: Final = re.compile(rf"{PACKAGE}(\.\w+)*")
_LONGEST_NAME: Final = 80
_MARKUP: Final = re.compile(r"`| \(\[how\]\(.*?\)\)")


class Finding(NamedTuple):
    """A place in a file, and what is to be said of it."""

    line: int
    text: str
    change: bool
    """Whether it has to be changed, and does not merely carry over."""


def findings(source: bytes | str) -> list[Finding]:
    """Return what is to be said of a source, in the order of its lines.

    Nothing for one that does not name the package miros-rabbitmq. Raises `SyntaxError` for what
    this Python cannot read. Quotes nothing but names.
    """
    with warnings.catch_warnings():
        # What Python thinks of the old program's escapes is nothing that the move changes.
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    if not any(map(_names_package, ast.walk(tree))):
        return []
    charts = _CHARTS.union(*map(_charts_of, ast.walk(tree)))
    found = [each for node in ast.walk(tree) for each in _of(node, charts)]
    return sorted({*found, *_environment(tree)})


def _names_package(node: ast.AST) -> bool:
    return _is_import(node) or _is_text_of_it(node)


def _is_text_of_it(node: ast.AST) -> bool:
    """Whether it is a text with the name of the package, as `import_module` takes it."""
    return _DOTTED.fullmatch(_text(node)) is not None


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _environment(tree: ast.AST) -> Iterator[Finding]:
    """Yield where a program first reads for itself what the old import took out of `.env`."""
    nodes = list(ast.walk(tree))
    read = [node.lineno for node in nodes if isinstance(node, ast.Constant) and _is_variable(node)]
    if read and not any(getattr(each, "id", "") == _LOADS for each in nodes):
        text = (
            "what stands in .env is no longer put into the environment by the import: call "
            f"{_LOADS} of python-dotenv before, or give config=MeshConfig.from_env(env_file=...)"
        )
        yield Finding(min(read), text, False)


def _is_variable(node: ast.Constant) -> bool:
    return _text(node) in ANCESTOR_NAMES.values()


def _charts_of(node: ast.AST) -> Iterator[str]:
    """Yield the names that an import gives the classes of charts in place of their own."""
    if isinstance(node, ast.ImportFrom):
        yield from (each.asname for each in node.names if each.asname and each.name in _CHARTS)


def _is_import(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        # With dots in front it is a module of the project's own that has that name.
        return not node.level and _is_package(node.module or "")
    return isinstance(node, ast.Import) and any(_is_package(each.name) for each in node.names)


def _is_package(name: str) -> bool:
    return name.partition(".")[0] == PACKAGE


def _of(node: ast.AST, charts: Collection[str]) -> Iterator[Finding]:
    match node:
        case ast.ImportFrom() | ast.Import() if _is_import(node):
            yield from _imports(node)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            if name in CHANGED and name not in _COMMON and name != PACKAGE:
                yield Finding(node.lineno, f"{name}: {_plain(CHANGED[name])}", True)
        case ast.Call():
            yield from _call(node, charts)
        case ast.Constant() if _is_text_of_it(node):
            text = f"{PACKAGE}, as a text: where it names the package, it is miros_mesh"
            yield Finding(node.lineno, text, True)
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in _CALLBACKS:
            yield Finding(node.lineno, f"{name} -> {_CALLBACKS[name]}", True)


def _imports(node: ast.ImportFrom | ast.Import) -> Iterator[Finding]:
    for each in node.names:
        if isinstance(node, ast.ImportFrom):
            yield _imported(node.lineno, each.name)
        elif _is_package(each.name):
            yield Finding(node.lineno, f"import {_shown(each.name)} -> import miros_mesh", True)


def _imported(line: int, name: str) -> Finding:
    if name in _MODULES:
        text = f"from {PACKAGE} import {name} -> from {_MODULES[name]} import {name}"
    elif name in CHANGED:
        text = f"{name}: {_plain(CHANGED[name])}"
    elif name == "*":
        text = f"from {PACKAGE} import * -> from miros_mesh import what is used of it, by name"
    else:
        text = f"{_shown(name)} is not here; docs/from-miros-rabbitmq.md has every public name"
    return Finding(line, text, True)


def _call(node: ast.Call, charts: Collection[str]) -> Iterator[Finding]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in node.keywords:
        if keyword.arg in _OLDER:
            text = f"{keyword.arg} carries over: {_plain(CHANGED[keyword.arg])}"
            yield Finding(keyword.value.lineno, text, False)
        elif name in charts and keyword.arg in CHANGED:
            text = f"{keyword.arg}=: {_plain(CHANGED[keyword.arg])}"
            yield Finding(keyword.value.lineno, text, True)
        if name in charts and keyword.arg == "rabbit_password" and _is_text(keyword.value):
            text = (
                "rabbit_password carries over; rather read it from the environment, or from a file "
                "(MIROS_MESH_RABBIT_PASSWORD_FILE), than write it into a source"
            )
            yield Finding(keyword.value.lineno, text, False)
    if name in charts and len(node.args) > _SAME_PLACES:
        text = (
            f"{name}: give the arguments after the third by name (mesh_encryption_key=, "
            "tx_routing_key=, rx_routing_key=): they stand in another order here"
        )
        yield Finding(node.lineno, text, True)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _shown(name: str) -> str:
    """Return a name of the project's, in one line and no longer than names are."""
    return printable(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "...")


def _plain(answer: str) -> str:
    return _MARKUP.sub("", answer)
