"""What discovery gets of a node's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from miros_mesh.config.settings import MeshConfig
from miros_mesh.node.search.settings import refusals_of, settings_of
from support.charts_at_work import KEY, OTHER_KEY

CONFIG = MeshConfig(
    rabbit_user="peter",
    rabbit_password="rabbit",
    rabbit_virtual_host="plant",
    mesh_encryption_key=(KEY, OTHER_KEY),
)


def test_files_are_in_the_working_folder_and_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_of(CONFIG, "n")
    names = (".miros_mesh_hosts.json", ".miros_rabbitmq_hosts.json")
    assert settings.hosts_files == tuple(tmp_path / name for name in names)
    assert settings.cache_path == CONFIG.home_folder / ".miros_mesh_lan_cache.json"


def test_with_ancestors_their_cache_lists_hosts_and_other_brokers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_of(CONFIG.overridden(ancestors="hear"), "n")
    assert settings.hosts_files[2:] == (tmp_path / ".miros_rabbitmq_lan_cache.json",)
    # Brokers that such a search has found are of no use to a node that hears no ancestors.
    assert settings.scope != settings_of(CONFIG, "n").scope


def test_files_that_are_named_are_taken(tmp_path: Path) -> None:
    config = CONFIG.overridden(
        discovery_hosts_file=tmp_path / "hosts", discovery_cache_file=tmp_path / "cache"
    )
    settings = settings_of(config, "n")
    assert settings.hosts_files == (tmp_path / "hosts",)
    assert settings.cache_path == tmp_path / "cache"


def test_what_discovery_keeps_of_a_mesh_tells_keys_apart_and_has_no_secret() -> None:
    ours = settings_of(CONFIG, "n")
    theirs = settings_of(CONFIG.overridden(mesh_encryption_key=OTHER_KEY), "n")
    assert ours.scope != theirs.scope
    assert KEY.decode() not in repr(ours)
    assert "peter" not in repr(ours)


def test_the_charts_of_discovery_print_their_traces_when_the_settings_say_so() -> None:
    assert not settings_of(CONFIG, "n").live_trace
    told = settings_of(CONFIG.overridden(discovery_live_trace=True, discovery_live_spy=True), "n")
    assert (told.live_trace, told.live_spy) == (True, True)


def test_refusals_outlive_a_node_and_belong_to_its_credentials() -> None:
    assert refusals_of(CONFIG) is refusals_of(CONFIG.overridden(rabbit_virtual_host="other"))
    assert refusals_of(CONFIG) is not refusals_of(CONFIG.overridden(rabbit_password="else"))
