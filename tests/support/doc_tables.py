"""What the code makes in docs/, tables, pictures, a program: `make drawings` makes it anew."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, Field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

import miros_mesh
from miros_mesh import errors
from miros_mesh.config import environment
from miros_mesh.config import settings as config
from miros_mesh.config.settings import MeshConfig
from miros_mesh.networks.order.streams import Admission
from miros_mesh.observe.metrics.observer import MetricsObserver
from support import ancestor_names, architecture, broker_facts, event_steps, pickled
from support import reference as reference_pages

DOCS = Path(__file__).parents[2] / "docs"
IMAGES = DOCS / "images"
BEGIN, END = "<!-- made from the code: {} -->", "<!-- end -->"
REASON = re.compile(r'(?:reason=|_drop\(|Reason\()"(\w+)"')
UNITS = ((1024 * 1024, "MiB"), (1024, "KiB"))


def settings() -> str:
    """Every field of `MeshConfig`."""
    meanings = _attribute_docstrings(MeshConfig)
    rows = [
        [f"`{f.name}`<br>{_variables(f)}", meanings[f.name], _default(f), _range(f)]
        for f in fields(MeshConfig)
        if f.init
    ]
    return _table(["setting, and its variables", "meaning", "default", "range"], rows)


def metrics() -> str:
    """Every metric of `MetricsObserver`."""
    registry = CollectorRegistry()
    MetricsObserver(registry)
    rows = [
        [f"`{_exposed(metric)}`", metric.type, _labels(collector, metric), metric.documentation]
        for collector in _registered(registry)
        for metric in collector.describe()
    ]
    return _table(["metric", "type", "labels", "meaning"], rows)


def talk() -> str:
    """The program of the README, and what is said of it."""
    readme = (DOCS.parent / "README.md").read_text()
    return readme.partition("## A program\n")[2].partition("\n## ")[0].strip()


def reference() -> str:
    """Every page of the reference, and the names that it explains."""
    rows = [
        [
            f"[{reference_pages.title(page)}]({page.name})",
            ", ".join(
                f"[`{name.rpartition('.')[2]}`]({page.name}#{name})"
                for name in reference_pages.explained(page)
            ),
        ]
        for page in reference_pages.pages()
    ]
    return _table(["page", "names"], rows)


def broker_reasons() -> str:
    """Every reason for which a node cannot use a broker."""
    # These two are said of brokers that discovery looks at, and that no node uses.
    others = {errors.NoMeshError, errors.OtherKeyError}
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    rows = [
        [f"`{kind.reason}`", str(inspect.getdoc(kind)).split("\n")[0]]
        for kind in kinds
        if issubclass(kind, errors.LinkError) and kind not in others
    ]
    return _table(["reason", "what happened"], rows)


def program() -> str:
    """The service of `examples/` in full."""
    return f"```python\n{(DOCS.parent / 'examples' / 'doors.py').read_text()}```"


def reasons() -> set[str]:
    """Every reason for which the library drops an event or a record."""
    package = Path(inspect.getfile(miros_mesh)).parent
    written = {
        reason for source in package.rglob("*.py") for reason in REASON.findall(source.read_text())
    }
    refused = {error.reason for error in errors.FrameError.__subclasses__()}
    return written | refused | {each.value for each in Admission} - {Admission.NEW.value}


PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "index.md": {"talk": talk},
    "reference/index.md": {"names": reference},
    "architecture.md": {"tree": architecture.tree, "steps": event_steps.table},
    "brokers.md": {"facts": broker_facts.table},
    "modules.md": {"modules": architecture.every_module},
    "configuration.md": {"settings": settings},
    "observability.md": {"metrics": metrics, "reasons": broker_reasons},
    "from-miros-rabbitmq.md": {"names": ancestor_names.table},
    "ancestors.md": {"pickles": pickled.table},
    "production.md": {"program": program},
}
PICTURES: dict[str, Callable[[], str]] = {
    "layers.svg": architecture.layers,
    "way-of-an-event.svg": event_steps.picture,
}


def renewed(page: Path) -> str:
    """The page with its tables as the code has them now."""
    text = page.read_text()
    for name, make in PAGES[page.relative_to(DOCS).as_posix()].items():
        begin = BEGIN.format(name)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(END)
        if not after:
            raise ValueError(f"{page.name} lacks the line {begin} or {END}")
        text = f"{before}{begin}\n\n{make()}\n\n{END}{after}"
    return text


def _registered(registry: CollectorRegistry) -> Iterable[Any]:
    # A metric of several names is entered under each of them.
    return dict.fromkeys(registry._names_to_collectors.values())


def _exposed(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _labels(collector: Any, metric: Metric) -> str:
    # A metric keeps its labels itself, a look at the nodes in what it gives.
    names: Sequence[str] = getattr(collector, "_labelnames", getattr(metric, "_labelnames", ()))
    return ", ".join(f"`{label}`" for label in names)


def _variables(setting: Field[Any]) -> str:
    if setting.name not in config._scalar_defaults(MeshConfig):
        return "no variable: an object"
    return "<br>".join(f"`{name}`" for name in environment._candidates(setting.name))


def _default(setting: Field[Any]) -> str:
    default = setting.default
    if default is MISSING or default is None or default == ():
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"`{default}`" if isinstance(default, str) else _number(setting, default)


def _range(setting: Field[Any]) -> str:
    return " to ".join(_number(setting, number) for number in setting.metadata.get("range", ()))


def _number(setting: Field[Any], number: float) -> str:
    if setting.name.endswith("_bytes"):
        return _bytes(int(number))
    return f"{number:.15g}"


def _bytes(number: int) -> str:
    for size, unit in UNITS:
        if number >= size and number % size == 0:
            return f"{number // size:,} {unit}"
    return f"{number:,}"


def _attribute_docstrings(settings: type) -> dict[str, str]:
    """The strings that stand below the fields."""
    (definition,) = ast.parse(inspect.getsource(settings)).body
    assert isinstance(definition, ast.ClassDef)
    return dict(_pairs(definition.body))


def _pairs(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, text


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    for page in map(DOCS.joinpath, PAGES):
        page.write_text(renewed(page))
    for picture, draw in PICTURES.items():
        (IMAGES / picture).write_text(draw())
