"""What the pages say is what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from inspect import signature
from pathlib import Path

import pytest

import miros_mesh
from miros_mesh import NetworkedActiveObject, Observer
from support import architecture, doc_tables, reference, sequence_diagrams
from support.demo_output import demo_books, demo_times, moved_by_the_other
from support.doc_pages import PAGES, ROOT, block, fragments, imports

PACKAGE = Path(miros_mesh.__file__).parent
README = ROOT / "README.md"
OBSERVABILITY = (ROOT / "docs" / "observability.md").read_text()


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", doc_tables.PAGES)
def test_a_table_that_the_code_makes_is_up_to_date(page: str) -> None:
    file = doc_tables.DOCS / page
    assert file.read_text() == doc_tables.renewed(file), "run: make drawings"


@pytest.mark.parametrize("picture", doc_tables.PICTURES)
def test_a_picture_that_the_code_makes_is_up_to_date(picture: str) -> None:
    drawn = (doc_tables.IMAGES / picture).read_text()
    assert drawn == doc_tables.PICTURES[picture](), "run: make drawings"


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_mark_of_a_merge_is_left(page: Path) -> None:
    assert not re.findall(r"^(?:<<<<<<<|=======|>>>>>>>)", page.read_text(), re.MULTILINE)


def test_every_thread_of_a_node_is_in_the_table_of_threads() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"^\| `mesh-<node>-(\w+)", page, re.MULTILINE))
    assert named == architecture.thread_roles()


def test_every_module_that_the_page_on_the_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:\w+/)*\w+(?:\.py|/))`", page)
    assert len(named) > 40
    places = (PACKAGE, ROOT)
    assert not [path for path in named if not any((place / path).exists() for place in places)]


def test_every_setting_has_a_meaning() -> None:
    meanings = [row.split(" | ")[1] for row in doc_tables.settings().splitlines()]
    assert len(meanings) > 40
    assert "" not in meanings


def test_every_reason_of_a_drop_is_explained_and_no_other() -> None:
    table = OBSERVABILITY.partition("### Why events are dropped")[2].partition("\n### ")[0]
    explained = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert doc_tables.reasons() <= explained
    source = "".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    assert not [reason for reason in explained if f'"{reason}"' not in source]


def test_the_sequence_diagrams_on_the_page_are_those_that_are_drawn() -> None:
    forms = {"text": "door.txt", "mermaid": "door.mmd"}
    section = OBSERVABILITY.partition("## Sequence diagrams")[2].partition("\n## ")[0]
    shown = re.findall(r"```(text|mermaid)\n(.*?)\n```", section, re.DOTALL)
    assert [form for form, _ in shown] == list(forms)
    for form, drawing in shown:
        assert drawing in sequence_diagrams.drawn(forms[form])


def public_packages() -> Iterator[str]:
    """Those that say what they offer to programs; what these two offer is for the library."""
    for file in sorted(PACKAGE.rglob("__init__.py")):
        name = ".".join((PACKAGE.name, *file.parent.relative_to(PACKAGE).parts))
        if "\n__all__ = " in file.read_text() and name not in {
            "miros_mesh.discovery",
            "miros_mesh.wire",
        }:
            yield name


def test_every_public_name_is_on_a_page_of_the_reference() -> None:
    explained = {
        name.rpartition(".")[2]: reference.found(name)
        for page in reference.pages()
        for name in reference.explained(page)
    }
    packages = list(public_packages())
    assert {"miros_mesh", "miros_mesh.testing", "miros_mesh.observe.logs"} <= set(packages)
    for package in map(import_module, packages):
        for name in package.__all__:
            assert explained.get(name) == getattr(package, name), f"{package.__name__}.{name}"


def test_what_the_pages_import_is_on_a_page_of_the_reference() -> None:
    explained = {
        name.rpartition(".")[2] for page in reference.pages() for name in reference.explained(page)
    }
    shown = {
        name
        for page in PAGES
        for statement in imports(page)
        if (words := re.fullmatch(r"from miros_mesh\b\S* import (.+)", statement))
        for name in words[1].split(", ")
    }
    assert "NetworkedActiveObject" in shown
    # Written into the states of discovery: a name of miros.
    assert shown - explained - {"ENTRY"} == set()


def test_the_documentation_is_built_with_its_warnings() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ndocs: ")[2].partition("\n\n")[0]
    assert "mkdocs build --strict" in recipe
    # It hides warnings from --strict as well.
    assert "quiet" not in recipe


def test_every_hook_of_an_observer_is_named() -> None:
    hooks = [name for name in vars(Observer) if not name.startswith("_")]
    assert not [hook for hook in hooks if f"`{hook}`" not in OBSERVABILITY]


def test_every_argument_of_a_chart_is_in_the_comparison_with_the_ancestor() -> None:
    page = (ROOT / "docs" / "from-miros-rabbitmq.md").read_text()
    arguments = set(signature(NetworkedActiveObject).parameters) - {"name", "config"}
    assert not [name for name in arguments if f"`{name}`" not in page]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_python_that_is_shown_can_be_compiled(page: Path) -> None:
    for number, code in enumerate(fragments(page)):
        compile(code, f"{page.name}, fragment {number}", "exec")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_import_that_is_shown_works(page: Path) -> None:
    for statement in imports(page):
        exec(statement, {})


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_no_page_names_a_folder_of_the_machine_it_was_written_on(page: Path) -> None:
    # But where everybody's demo writes.
    found = r"/(?:root|work)/|/tmp/(?!miros-mesh-demo-)"
    assert not re.findall(found, page.read_text())


def test_settings_have_one_folder_on_all_pages_and_in_all_files_of_deploy() -> None:
    files = [*PAGES, *(file for file in (ROOT / "deploy").rglob("*") if file.is_file())]
    texts = [file.read_text() for file in files]
    named = {name for text in texts for name in re.findall(r"/etc/([-\w]*mesh[-\w]*)", text)}
    assert named == {"miros-mesh"}


def test_no_line_of_the_blocks_of_the_readme_wraps_at_80_columns() -> None:
    blocks = re.findall(r"^```.*?\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert blocks
    lines = [line for each in blocks for line in each.splitlines()]
    assert not [line for line in lines if len(line) > 80]


def test_the_run_of_the_demo_in_the_readme_is_whole() -> None:
    lines = block(README, "text", "[+t]").splitlines()
    times = demo_times(lines)
    assert times == sorted(times)
    books = demo_books(lines)
    assert moved_by_the_other(lines) == books["changed a state"]
    assert books["transmitted"] == books["received"]
    assert lines[-1] == "Every event arrived once."
