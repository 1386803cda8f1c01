"""The fields of a line as one tree, in which no field of an application clashes with one of ECS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

LABELS: Final = "labels"


def add_all(fields: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Add what an author gave where neither ECS nor the mapping of an index can clash with it.

    A name with dots, and a dictionary, go to their place in the tree. Any other name becomes a
    label, and so does what finds its place taken.
    """
    for name, value in extra.items():
        if "." not in name and not isinstance(value, Mapping):
            # Each application means something else by `id` or `state`: as a top-level field, two
            # services that share an index would fight over its type.
            _label(fields, name, value)
            continue
        for path, leaf in _leaves(name, value):
            if not _put(fields, path.split("."), leaf):
                _label(fields, path, leaf)


def _leaves(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}", item)
    else:
        yield path, value


def _put(fields: dict[str, Any], path: list[str], leaf: object) -> bool:
    """Put a value at its place; tell whether that was free."""
    *branches, last = path
    # An empty name, as in `a..b`, is refused by Elasticsearch.
    if not all(path) or path[0] == LABELS:
        return False
    branch = fields
    for name in branches:
        # Nothing is left behind when it fails: below a branch that is made here every place is
        # free, so only one that was there before can be no branch.
        branch = branch.setdefault(name, {})
        if not isinstance(branch, dict):
            return False
    if last in branch:
        return False
    branch[last] = leaf
    return True


def _label(fields: dict[str, Any], path: str, value: object) -> None:
    """Add a label. A label has no structure: no dot in its name, a scalar or a list of them."""
    labels = fields.setdefault(LABELS, {})
    name = path.removeprefix(f"{LABELS}.").replace(".", "_") or "_"
    # `a.b` and `a_b` are the same label; neither may cost the other.
    while name in labels:
        name += "_"
    # ECS maps labels to keywords, and Elasticsearch then refuses a line with an object in one.
    labels[name] = value if _is_flat(value) else json.dumps(value)


def _is_flat(value: object) -> bool:
    if isinstance(value, list):
        return not any(isinstance(item, list | dict) for item in value)
    return not isinstance(value, dict)
