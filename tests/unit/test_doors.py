"""What an import brings along, and the public names behind it."""

from __future__ import annotations

import ast
import importlib
import os
import pickle
import pydoc
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import miros_mesh
from miros_mesh import doors
from support import imports

# What only some programs use, by the names under which it is imported.
FOR_SOME = {
    *("asyncio", "email", "http", "multiprocessing", "ssl", "yaml"),
    *("amqp", "kombu", "tenacity", "vine"),
    *("ecs_logging", "netifaces", "opentelemetry", "prometheus_client", "rich", "structlog"),
    "cryptography.hazmat.primitives.serialization.ssh",
    *(f"miros_mesh.{each}" for each in ("cli", "clients", "dead_letters", "observe", "testing")),
    *("miros_mesh.discovery.chart", "miros_mesh.discovery.discovery"),
    *("miros_mesh.embedded.transport", "miros_mesh.link.kombu_link", "miros_mesh.link.rabbitmq"),
    "miros_mesh.link.rabbitmq.transport",
}
FOR_CHARTS = {
    *("cryptography", "miros", "msgspec", "sqlite3"),
    *("miros_mesh.address", "miros_mesh.charts", "miros_mesh.config", "miros_mesh.errors"),
    *("miros_mesh.link", "miros_mesh.networks", "miros_mesh.node", "miros_mesh.wire"),
}
LOADED = """
import sys
before = set(sys.modules)
{}
print(*(set(sys.modules) - before))
"""
STARTED = """
from miros import return_status, spy_on
from miros_mesh import MeshConfig, NetworkedActiveObject

@spy_on
def idle(chart, event):
    chart.temp.fun = chart.top
    return return_status.SUPER

chart = NetworkedActiveObject("idle", config=MeshConfig(home={home!r}))
chart.start_at(idle)
chart.stop()
"""
AT_ONCE = """
import random, sys, threading
import miros_mesh

names, faults = [*miros_mesh.__all__, "charts", "config", "discovery", "wire"], []
begin = threading.Barrier(16)

def look(seed):
    order = random.Random(seed).sample(names, len(names))
    begin.wait()
    try:
        for name in order:
            getattr(miros_mesh, name)
        for package in ("charts", "config", "discovery", "wire"):
            for name in sys.modules["miros_mesh." + package].__all__:
                getattr(sys.modules["miros_mesh." + package], name)
    except BaseException as error:
        faults.append(repr(error))

threads = [threading.Thread(target=look, args=(seed,)) for seed in range(16)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(faults)
"""
SLOW = """
import threading
import slow_package

slow_package.begun.set()
slow_package.forking.wait()
# Longer than a fork takes.
threading.Event().wait(0.5)
name = "found"
"""
FORKED = """
import os, signal, sys, threading
sys.path.insert(0, {folder!r})
from miros_mesh import doors
import slow_package

asked_for, _ = doors.door("slow_package", {{"slow_package.module": ("name",)}})
first = threading.Thread(target=asked_for, args=("name",))
first.start()
slow_package.begun.wait()
os.register_at_fork(before=slow_package.forking.set)
child = os.fork()
if not child:
    signal.alarm(30)
    os._exit(asked_for("name") != "found")
first.join()
print(os.waitpid(child, 0)[1])
"""
PACKAGES = [
    name
    for name, path in imports.modules().items()
    if path.name == "__init__.py" and "door(" in path.read_text()
]


def fresh(program: str) -> str:
    """What a program prints that runs in an interpreter of its own."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout


def loaded_by(program: str) -> set[str]:
    return set(fresh(LOADED.format(program)).split())


def test_importing_the_package_imports_nothing_that_only_some_use() -> None:
    assert not loaded_by("import miros_mesh") & (FOR_SOME | FOR_CHARTS)


def test_importing_a_chart_imports_no_more_than_every_chart_needs() -> None:
    loaded = loaded_by("from miros_mesh import NetworkedActiveObject, NetworkedFactory, MeshConfig")

    # So that a module that gets another name is not overlooked for ever.
    assert "miros_mesh.charts.networked" in loaded
    assert not loaded & FOR_SOME


def test_a_chart_of_the_embedded_broker_imports_neither_search_nor_rabbitmq(tmp_path: Path) -> None:
    loaded = loaded_by(STARTED.format(home=str(tmp_path)))

    used = {"amqp", "kombu", "miros_mesh.embedded.transport", "miros_mesh.link.kombu_link"}
    assert used <= loaded
    others = {"miros_mesh.discovery.discovery", "miros_mesh.link.rabbitmq.transport", "netifaces"}
    assert not loaded & (others | {"asyncio", "http", "miros_mesh.observe", "prometheus_client"})


def test_every_module_that_only_some_use_is_there() -> None:
    ours = {each for each in FOR_SOME | FOR_CHARTS if each.startswith("miros_mesh")}
    assert ours <= imports.modules().keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_offers_the_names_that_type_checkers_see(package: str) -> None:
    offered = importlib.import_module(package)
    seen = dict(_seen_by_checkers(package))

    assert sorted(seen) == sorted(offered.__all__)
    assert set(offered.__all__) <= set(dir(offered))
    for name, home in seen.items():
        assert getattr(offered, name) is getattr(importlib.import_module(home), name)
    everything: dict[str, object] = {}
    exec(f"from {package} import *", everything)
    assert everything.keys() >= seen.keys()


def test_names_that_are_not_there_are_missed_as_ever() -> None:
    for name in ("Nothing", "_private", "__wrapped__", "charts.networked", "nothing.at_all", ""):
        with pytest.raises(AttributeError, match=f"'miros_mesh' has no attribute '{name}'"):
            getattr(miros_mesh, name)
        assert not hasattr(miros_mesh, name)
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec("from miros_mesh import Nothing")


def test_modules_are_attributes_of_their_package() -> None:
    found = fresh("import miros_mesh; print(miros_mesh.errors.MeshError, miros_mesh.wire.KeyRing)")
    assert "miros_mesh.errors.MeshError" in found
    assert "miros_mesh.wire.keyring.KeyRing" in found


def test_a_module_that_lacks_one_of_its_own_imports_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lacking_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "module.py").write_text("import not_installed_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("lacking_package")

    asked_for, _ = doors.door("lacking_package", {"lacking_package.module": ("name",)})

    for name in ("name", "module"):
        with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
            asked_for(name)


def test_many_threads_may_ask_for_names_for_the_first_time() -> None:
    assert fresh(AT_ONCE).strip() == "[]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks on this system")
def test_a_fork_waits_for_what_another_thread_imports(tmp_path: Path) -> None:
    package = tmp_path / "slow_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import threading\nbegun, forking = threading.Event(), threading.Event()\n"
    )
    (package / "module.py").write_text(SLOW)

    assert fresh(FORKED.format(folder=str(tmp_path))).strip() == "0"


def test_public_classes_can_be_pickled_and_have_help() -> None:
    kinds = [
        each for name in miros_mesh.__all__ if isinstance(each := getattr(miros_mesh, name), type)
    ]
    assert pickle.loads(pickle.dumps(kinds)) == kinds
    page = pydoc.render_doc(miros_mesh)
    assert all(kind.__name__ in page for kind in kinds)


def _seen_by_checkers(package: str) -> Iterator[tuple[str, str]]:
    tree = ast.parse(imports.modules()[package].read_text())
    (checked,) = [each for each in tree.body if isinstance(each, ast.If)]
    for each in checked.body:
        assert isinstance(each, ast.ImportFrom)
        assert each.module
        yield from ((name.name, each.module) for name in each.names)
