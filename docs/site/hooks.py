"""What the build of the site does beside MkDocs: pages of elsewhere, Mermaid, descriptions."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
MERMAID = "assets/mermaid.min.js"
_LINK = re.compile(r"(?<=\]\()(?P<path>[^)\s#:]+)(?=[)#])")
# Decisions begin with a heading in their line.
_PARAGRAPH = re.compile(r"<p>(?:<strong>What\.</strong>)?(.*?)</p>", re.DOTALL)
# Neither in a heading nor in a link.
_ERROR = re.compile(r'(?<!">)<code>(\w+Error)</code>(?!</a>)')
_ERRORS = re.findall(
    r"^class (\w+)\(", (ROOT / "miros_mesh" / "errors.py").read_text(), re.MULTILINE
)
# By the beginning of a page's path, the first that fits: whoever searches at work wants to know
# what to do, and not why it was built so.
_SEARCH_BOOSTS = {
    "decisions/": 0.001,
    "modules": 0.01,
    "CHANGELOG": 0.01,
    "CONTRIBUTING": 0.01,
    "architecture": 0.01,
    "reference/index": 0.01,
    "reference/discovery": 0.01,
    "reference/": 0.1,
    "benchmarks": 0.1,
    "faults": 0.1,
    "wire": 0.1,
    "runbook": 2.0,
}
_SENTENCE = re.compile(r".+?[.](?=\s|$)|.+")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in what pages link to outside of docs/, and what those link to, and Mermaid."""
    waiting = list(files.documentation_pages())
    for page in waiting:
        for target in _targets(page):
            site_path = _site_path(target)
            if (ROOT / target).is_file() and site_path not in files.src_uris:
                found = File.generated(config, site_path, abs_src_path=str(ROOT / target))
                files.append(found)
                if found.is_documentation_page():
                    waiting.append(found)
    # Mermaid's own file, which that package has unchanged. The package itself is not imported.
    script = distribution("mermaidx").locate_file("mermaidx/assets/mermaid.js")
    files.append(File.generated(config, MERMAID, abs_src_path=str(script)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links lead to where the files are on the site, and rank the page in its search."""
    folder = posixpath.dirname(page.file.src_uri)
    boosts = (boost for path, boost in _SEARCH_BOOSTS.items() if page.file.src_uri.startswith(path))
    page.meta.setdefault("search", {"boost": next(boosts, 1.0)})

    def on_the_site(link: re.Match[str]) -> str:
        target = _target(page.file, link["path"])
        if not (ROOT / target).exists():
            return link["path"]
        return posixpath.relpath(_site_path(target), folder or ".")

    return _LINK.sub(on_the_site, markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Describe the page by its first sentence, for `llms.txt` too, and link errors to theirs."""
    if page.is_homepage:
        page.meta["description"] = config.site_description
    elif first := _PARAGRAPH.search(content):
        text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", first[1])).split())
        (sentence,) = _SENTENCE.findall(text)[:1] or [""]
        page.meta.setdefault("description", sentence.rstrip(":"))
    return _ERROR.sub(_linked, content)


def _linked(error: re.Match[str]) -> str:
    # mkdocstrings finds what a module imports; docstrings name what is raised further down as well.
    name = error[1]
    link = f'<autoref identifier="miros_mesh.errors.{name}">{name}</autoref>'
    return f"<code>{link}</code>" if name in _ERRORS else error[0]


def _targets(page: File) -> Iterator[str]:
    return (_target(page, link["path"]) for link in _LINK.finditer(page.content_string))


def _target(page: File, path: str) -> str:
    """Where in the repository a link of a page leads."""
    source = Path(str(page.abs_src_path)).relative_to(ROOT).as_posix()
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), path))


def _site_path(target: str) -> str:
    return target.removeprefix("docs/")
