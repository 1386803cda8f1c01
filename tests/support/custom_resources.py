"""What the manifests may say of resources that Kubernetes itself does not know.

No package of a registry has the schema of a RabbitmqCluster, so these are the fields in use, as the
definitions of the operators name and type them (cluster-operator v1beta1, prometheus-operator v1).
"""

from __future__ import annotations

import copy
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_QUANTITY: Schema = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGT]i?)?$"}
_QUANTITIES: Schema = {"type": "object", "additionalProperties": _QUANTITY}
_LABELS: Schema = {"type": "object", "additionalProperties": _TEXT}


def _object(required: str = "", **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


_RELABELING = _object(targetLabel=_TEXT, replacement=_TEXT, sourceLabels=_list(_TEXT), regex=_TEXT)
_ENDPOINT = _object(
    port=_TEXT,
    path=_TEXT,
    interval={"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
    relabelings=_list(_RELABELING),
)
_RULE = _object(
    "expr",
    alert=_TEXT,
    expr=_TEXT,
    annotations=_LABELS,
    labels=_LABELS,
    **{"for": {"type": "string", "pattern": "^[0-9]+[smh]$"}},
)
SPECS: dict[tuple[str, str], Schema] = {
    ("monitoring.coreos.com/v1", "PodMonitor"): _object(
        "selector podMetricsEndpoints",
        selector=_object(matchLabels=_LABELS),
        podMetricsEndpoints=_list(_ENDPOINT),
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _object(
        groups=_list(_object("name", name=_TEXT, rules=_list(_RULE)))
    ),
    ("rabbitmq.com/v1beta1", "RabbitmqCluster"): _object(
        replicas={"type": "integer", "enum": [1, 3, 5]},
        resources=_object(requests=_QUANTITIES, limits=_QUANTITIES),
        persistence=_object(storage=_QUANTITY, storageClassName=_TEXT),
        tls=_object(secretName=_TEXT, caSecretName=_TEXT, disableNonTLSListeners=_FLAG),
        # Looked at below.
        override=_object(statefulSet=_object(spec=_object(template={"type": "object"}))),
    ),
}


def check(document: dict[str, Any], version: str) -> None:
    """Raise `ValidationError` unless a document is what Kubernetes and its operators take."""
    schema = SPECS.get((document["apiVersion"], document["kind"]))
    if schema is None:
        kubernetes_validate.validate(document, version, strict=True)
        return
    whole = _object(
        "apiVersion kind metadata spec",
        apiVersion=_TEXT,
        kind=_TEXT,
        metadata=_object("name", name=_TEXT, namespace=_TEXT, labels=_LABELS),
        spec=schema,
    )
    jsonschema.Draft202012Validator(whole).validate(document)
    if document["kind"] == "RabbitmqCluster":
        kubernetes_validate.validate(overridden(document), version, strict=True)


def overridden(cluster: dict[str, Any]) -> dict[str, Any]:
    """What a RabbitmqCluster says of its StatefulSet, as one with all that the operator adds."""
    override = copy.deepcopy(cluster["spec"]["override"]["statefulSet"]["spec"])
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": f"{cluster['metadata']['name']}-server"},
        "spec": {"serviceName": "nodes", "selector": {}, **override},
    }
