"""Environments with the library of a commit, and with that of this folder: wheels, both."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from brokers import ROOT, SCRATCH
from environment import install, make, python, run
from measure import MeasureError

GIT_LIMIT_S = 60.0
FIND_LIMIT_S = 60.0
_WHERE = "import miros_mesh; print(miros_mesh.__file__)"
_HASHED = ("--require-hashes", "--only-binary", ":all:")
_NO_TAG = (
    "this checkout has no tag to compare with: give a tag or a commit, as in "
    'make bench ARGS="against HEAD~1"'
)


@dataclass(frozen=True)
class Build:
    """A Python that has one version of the library."""

    name: str
    python: Path


def last_tag() -> str:
    """Return the tag that is nearest before this commit."""
    try:
        return _git("describe", "--tags", "--abbrev=0")
    except MeasureError:
        raise MeasureError(_NO_TAG) from None


def of_commit(commit: str) -> Build:
    """Build what a commit has; an environment that was made for it before is taken again."""
    try:
        number = _git(
            "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"
        )
    except MeasureError:
        raise MeasureError(f"there is no commit {commit} in this checkout") from None
    place = SCRATCH / f"bench-at-{number[:12]}"
    marker, wanted = place / "installed.txt", f"{sys.version}\n{number}"
    if not marker.is_file() or marker.read_text() != wanted:
        make(place)
        source = _unpacked(number, place)
        _install_dependencies(place, source)
        _install_library(place, source)
        marker.write_text(wanted)
    return Build(f"{commit} ({number[:7]})" if commit != number[:7] else commit, python(place))


def of_this_folder() -> Build:
    """Build what this folder has now, with changes that are in no commit."""
    place = SCRATCH / "bench-here"
    marker = place / "installed.txt"
    locks = [(ROOT / ".ci" / "lock" / f"{name}.txt").read_text() for name in ("build", "run")]
    wanted = "\n".join([sys.version, *locks])
    if not marker.is_file() or marker.read_text() != wanted:
        make(place)
        _install_dependencies(place, ROOT)
        marker.write_text(wanted)
    _install_library(place, ROOT)
    return Build("this folder", python(place))


def _unpacked(number: str, place: Path) -> Path:
    source, archive = place / "source", place / "source.tar"
    source.mkdir()
    _git("archive", "--format=tar", f"--output={archive}", number)
    shutil.unpack_archive(archive, source)
    archive.unlink()
    return source


def _install_dependencies(place: Path, source: Path) -> None:
    lock = source / ".ci" / "lock"
    if not (lock / "run.txt").is_file():
        raise MeasureError(f"{source} has no .ci/lock, so what it needs is not known")
    install(place, *_HASHED, "--requirement", str(lock / "build.txt"))
    built = ("--no-build-isolation", "--no-binary", "miros")
    install(place, *_HASHED, *built, "--requirement", str(lock / "run.txt"))


def _install_library(place: Path, source: Path) -> None:
    install(place, "--no-deps", "--no-build-isolation", "--force-reinstall", str(source))
    found = Path(run([str(python(place)), "-I", "-c", _WHERE], FIND_LIMIT_S).strip())
    if place not in found.parents:
        raise MeasureError(f"{place} does not have the library that is found there: {found}")


def _git(*arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        raise MeasureError("there is no git on this machine")
    return run([program, "-C", str(ROOT), *arguments], GIT_LIMIT_S).strip()
