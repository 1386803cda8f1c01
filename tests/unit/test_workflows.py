"""What CI and a release may do, and whose code they run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from support.doc_pages import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
# What these jobs may do; the others may read the repository.
POWERS = {
    "attest": {"attestations": "write", "id-token": "write"},
    "publish": {"id-token": "write"},
    "page": {"contents": "write"},
}

workflows = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)


@workflows
def test_every_action_is_pinned_by_its_commit_and_tells_its_version(file: Path) -> None:
    uses = re.findall(r"^[\s-]*uses:\s*(.+)$", file.read_text(), re.MULTILINE)
    assert uses
    pinned = re.compile(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml")
    assert not [each for each in uses if not pinned.fullmatch(each)]


def test_an_action_has_one_version() -> None:
    text = "".join(file.read_text() for file in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w/-]+)@(.+)", text))
    assert len(pins) == len({action for action, _ in pins})


@workflows
def test_a_workflow_may_do_nothing_and_a_job_only_what_it_needs(file: Path) -> None:
    workflow = _read(file)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job["permissions"] in (POWERS.get(name, {"contents": "read"}), {})


@workflows
def test_no_job_with_a_power_runs_code_of_the_repository(file: Path) -> None:
    for name in POWERS.keys() & _read(file)["jobs"].keys():
        steps = str(_read(file)["jobs"][name]["steps"])
        assert "checkout" not in steps
        assert "make" not in steps


@workflows
def test_no_checkout_leaves_credentials_behind(file: Path) -> None:
    for job in _read(file)["jobs"].values():
        for step in job.get("steps", ()):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}


@workflows
def test_no_secret_is_used_and_no_command_is_made_of_what_others_write(file: Path) -> None:
    text = file.read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    for job in _read(file)["jobs"].values():
        assert not [step for step in job.get("steps", ()) if "${{" in step.get("run", "")]


def test_nothing_is_published_that_was_not_checked_and_signed() -> None:
    (release,) = (file for file in WORKFLOWS if file.stem == "release")
    jobs = _read(release)["jobs"]
    assert jobs["publish"]["needs"] == "attest"
    assert set(jobs["attest"]["needs"]) == {"ci", "audit", "build"}
    assert jobs["publish"]["environment"] == "release"


def _read(file: Path) -> dict[str, Any]:
    found = yaml.safe_load(file.read_text())
    assert isinstance(found, dict)
    return found
