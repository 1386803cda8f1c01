"""`deploy/Dockerfile`: hadolint has no complaint, and it builds what the tests ran against."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from support import container_image
from support.deployed import DEPLOY, LIMIT_S
from support.doc_pages import ROOT
from support.manifests import program

STEPS = container_image.steps()
RUNS = [each["value"] for each in STEPS if each["instruction"] == "RUN"]
MAKEFILE = (ROOT / "Makefile").read_text()


def hadolint(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("hadolint"), "--no-color", str(file)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def test_hadolint_has_no_complaint() -> None:
    done = hadolint(container_image.FILE)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_complains_where_it_has_to(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("FROM python:latest\nRUN cd /app && sudo true\n")
    done = hadolint(file)
    assert done.returncode == 1
    assert {"DL3003", "DL3004", "DL3007"} <= set(re.findall(r"DL\d{4}", done.stdout))


def test_both_stages_have_one_base_with_its_version() -> None:
    bases = [each["value"].partition(" ")[0] for each in STEPS if each["instruction"] == "FROM"]
    assert len(bases) == 2
    [base] = set(bases)
    version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", base)
    assert version
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert f"Programming Language :: Python :: {version[1]}" in classifiers


def test_nothing_is_installed_but_what_the_lock_has() -> None:
    installs = [
        line
        for run in RUNS
        for line in run.split("&&")
        if re.search(r"pip .*(install|wheel) ", line)
    ]
    assert len(installs) == 3
    for line in installs:
        locked = "--require-hashes" in line and "--requirement .ci/lock/" in line
        assert locked or "--no-index --find-links /wheels" in line


def test_it_builds_as_make_does() -> None:
    text = container_image.FILE.read_text()
    for words in (r"SOURCE_DATE_EPOCH ?:?= ?(\d+)", r"--no-binary (\w+)"):
        [here], [there] = set(re.findall(words, text)), set(re.findall(words, MAKEFILE))
        assert here == there
    assert "hatchling build --target wheel" in text
    assert "hatchling build --target wheel" in MAKEFILE


def test_what_is_copied_is_there_and_nothing_else_is_sent_to_the_engine() -> None:
    copied = [
        word
        for each in STEPS
        if each["instruction"] == "COPY" and "--from=" not in each["value"]
        for word in each["value"].split()[:-1]
    ]
    assert copied
    assert not [word for word in copied if not (ROOT / word).exists()]
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    sent = [line[1:] for line in lines if line.startswith("!")]
    for word in copied:
        assert [each for each in sent if fnmatch.fnmatch(word, f"{each}*")]
    for each in sent:
        assert [word for word in copied if word.startswith(each)]


def test_the_program_is_not_root_and_its_user_is_that_of_kubernetes() -> None:
    [user] = container_image.values("USER")
    deployment = yaml.safe_load((DEPLOY / "kubernetes" / "base" / "deployment.yaml").read_text())
    context = deployment["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert context["runAsUser"] >= 10_000


def test_it_answers_at_the_port_that_all_others_ask() -> None:
    [port] = container_image.values("EXPOSE")
    deployment = (DEPLOY / "kubernetes" / "base" / "deployment.yaml").read_text()
    assert f"containerPort: {port}\n" in deployment
    assert f":{port}/ready" in container_image.arguments("HEALTHCHECK")[-1]
    program_text = (ROOT / "examples" / "doors.py").read_text()
    assert f'"--port", type=int, default={port}' in program_text


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_no_shell_stands_between_the_engine_and_the_program(word: str) -> None:
    # A shell would keep SIGTERM for itself.
    assert container_image.arguments(word)
