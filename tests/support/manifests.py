"""What kustomize makes of `deploy/kubernetes`, and what a kubelet would make of that."""

from __future__ import annotations

import base64
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

LIMIT_S = 60.0
Document = dict[str, Any]


class Rendered:
    """The documents of one kustomization, or of several that are applied one after the other."""

    def __init__(self, *folders: Path) -> None:
        self.documents: list[Document] = [
            each for folder in folders for each in yaml.safe_load_all(kustomize(folder))
        ]

    def one(self, kind: str, name: str) -> Document:
        """The only document of that kind and name; the hash behind a generated one is left out."""
        [found] = [
            each
            for each in self.documents
            if each["kind"] == kind and _without_hash(each["metadata"]["name"]) == name
        ]
        return found

    def kind(self, kind: str) -> list[Document]:
        """Every document of a kind."""
        return [each for each in self.documents if each["kind"] == kind]

    def pods(self) -> Iterator[Document]:
        """What every pod of a Deployment or a StatefulSet is made of."""
        for each in self.documents:
            if each["kind"] in ("Deployment", "StatefulSet"):
                yield each["spec"]["template"]

    def files(self, spec: Document, container: Document) -> dict[str, str]:
        """The files that ConfigMaps and Secrets put into a container, by their path there."""
        volumes = {each["name"]: each for each in spec["volumes"]}
        found: dict[str, str] = {}
        for mount in container["volumeMounts"]:
            content = self._content(volumes[mount["name"]]) if mount["name"] in volumes else {}
            if "subPath" in mount:
                found[mount["mountPath"]] = content[mount["subPath"]]
            else:
                found |= {f"{mount['mountPath']}/{name}": text for name, text in content.items()}
        return found

    def environment(self, container: Document) -> dict[str, str]:
        """The variables of a container; what a pod says of itself is called after its path."""
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            name = source["configMapRef"]["name"]
            found |= next(
                each["data"] for each in self.kind("ConfigMap") if each["metadata"]["name"] == name
            )
        for each in container.get("env", []):
            path = each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
            found[each["name"]] = each.get("value", path)
        return found

    def _content(self, volume: Document) -> dict[str, str]:
        if "configMap" in volume:
            source, name = volume["configMap"], volume["configMap"]["name"]
            content = self._named("ConfigMap", name)["data"]
        elif "secret" in volume:
            source, name = volume["secret"], volume["secret"]["secretName"]
            data = self._named("Secret", name)["data"]
            content = {key: base64.b64decode(value).decode() for key, value in data.items()}
        else:
            return {}
        if "items" not in source:
            return dict(content)
        return {each["path"]: content[each["key"]] for each in source["items"]}

    def _named(self, kind: str, name: str) -> Document:
        [found] = [each for each in self.kind(kind) if each["metadata"]["name"] == name]
        return found


def program(name: str) -> str:
    """Where a program is that a package of the tests brings."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def containers(spec: Document) -> list[Document]:
    """Every container of a pod, those that start first among them."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def kustomize(folder: Path) -> str:
    """What the real kustomize makes of a folder; its complaint is an error."""
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, "KUBECONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    # It warns of what a later version will refuse.
    assert not done.stderr, done.stderr
    return done.stdout


def _without_hash(name: str) -> str:
    head, _, tail = name.rpartition("-")
    return head if len(tail) == 10 else name
