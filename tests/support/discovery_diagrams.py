"""The diagrams and tables of docs/discovery.md, made from the charts' code.

`make drawings` makes them anew.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from miros_mesh.discovery.chart import ENTRY, EXIT, INIT, DiscoveryChart, reactions
from miros_mesh.discovery.producer_factory import ProducerFactoryChart
from miros_mesh.discovery.scout import RabbitConsumerScoutChart
from miros_mesh.discovery.signals import PUBLIC
from miros_mesh.discovery.sources.aliens import AlienChart
from miros_mesh.discovery.sources.cache_file import CacheFileChart
from miros_mesh.discovery.sources.dns import DnsChart
from miros_mesh.discovery.sources.lan import LanChart
from miros_mesh.discovery.sources.lan_recce import LanRecceChart
from miros_mesh.discovery.sources.man_net import ManNetChart

PAGE = Path(__file__).parents[2] / "docs" / "discovery.md"
CHARTS: tuple[type[DiscoveryChart], ...] = (
    ProducerFactoryChart,
    ManNetChart,
    LanChart,
    LanRecceChart,
    RabbitConsumerScoutChart,
    CacheFileChart,
    DnsChart,
    AlienChart,
)
_MADE = re.compile(r"<!-- made from the code: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def renewed(text: str) -> str:
    """The page with everything that the code makes as the code has it now."""
    return _MADE.sub(
        lambda found: (
            f"<!-- made from the code: {found[1]} -->\n\n{make(found[1])}\n\n<!-- end -->"
        ),
        text,
    )


def make(name: str) -> str:
    """The signals' table, or all of one chart."""
    if name == "signals":
        return "\n".join(signal_table())
    (chart,) = [each for each in CHARTS if each.__name__ == name]
    return "\n".join([*diagram(chart), "", *hook_table(chart)])


def signal_table() -> Iterator[str]:
    """Who publishes and who hears each public signal."""
    yield "| signal | meaning | published by | heard by |"
    yield "| --- | --- | --- | --- |"
    for signal, meaning in PUBLIC.items():
        publishers = [f"`{c.__name__}`" for c in CHARTS if signal in c.PUBLISHES]
        listeners = [f"`{c.__name__}`" for c in CHARTS if signal in c.HEARS]
        by = ", ".join(publishers) or "programs"
        yield f"| `{signal}` | {meaning} | {by} | {', '.join(listeners) or 'programs'} |"


def diagram(chart: type[DiscoveryChart]) -> Iterator[str]:
    """The states of a chart and the transitions between them, as Mermaid."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {chart.NEST[0][0]}"
    for state, parent in chart.NEST:
        if parent is None:
            yield from _inside(chart, state, "    ")
    for _, reaction in reactions(chart):
        if reaction.signal != INIT:
            for target in reaction.to:
                yield f"    {reaction.state} --> {target} : {reaction.signal}"
    yield "```"


def hook_table(chart: type[DiscoveryChart]) -> Iterator[str]:
    """What each state does without being left."""
    hooks: dict[str, list[str]] = defaultdict(list)
    for _, reaction in reactions(chart):
        if not reaction.to:
            hooks[reaction.state].append(_WORDS.get(reaction.signal, f"`{reaction.signal}`"))
    yield "| state | acts, and stays, on |"
    yield "| --- | --- |"
    for state, _ in chart.NEST:
        if hooks[state]:
            yield f"| `{state}` | {', '.join(hooks[state])} |"


_WORDS = {ENTRY: "entry", EXIT: "exit"}


def _inside(chart: type[DiscoveryChart], state: str, indent: str) -> Iterator[str]:
    children = [each for each, parent in chart.NEST if parent == state]
    if not children:
        yield f"{indent}{state}"
        return
    yield f"{indent}state {state} {{"
    for _, reaction in reactions(chart):
        if reaction.state == state and reaction.signal == INIT:
            yield f"{indent}    [*] --> {reaction.to[0]}"
    for child in children:
        yield from _inside(chart, child, f"{indent}    ")
    yield f"{indent}}}"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
