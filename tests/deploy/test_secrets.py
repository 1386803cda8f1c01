"""What `deploy/secrets.sh` makes: certificates, a password and its hash, a key."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from support.deployed import HOSTS, SCRIPT, make_secrets


def test_every_file_is_for_its_owner_alone(secrets: Path) -> None:
    files = [file for file in secrets.rglob("*") if file.is_file()]
    assert {file.relative_to(secrets).as_posix() for file in files} >= {
        *(f"broker/{name}" for name in ("ca.crt", "tls.crt", "tls.key", "users.json")),
        *(f"nodes/{name}" for name in ("ca.crt", "broker_url", "password", "mesh.key")),
    }
    assert not [file for file in files if file.stat().st_mode & 0o077]


def test_the_nodes_get_no_key_of_the_authority_or_of_the_broker(secrets: Path) -> None:
    texts = "".join(file.read_text() for file in (secrets / "nodes").iterdir())
    assert "PRIVATE KEY" not in texts
    assert "ca.key" not in {file.name for file in (secrets / "broker").iterdir()}


def test_the_broker_gets_the_hash_of_the_password_and_not_the_password(secrets: Path) -> None:
    password = (secrets / "nodes" / "password").read_text()
    text = (secrets / "broker" / "users.json").read_text()
    [user] = json.loads(text)["users"]
    kept = base64.b64decode(user["password_hash"])
    salt, digest = kept[:4], kept[4:]
    assert digest == hashlib.sha256(salt + password.encode()).digest()
    assert len(password) == 48
    assert password not in text


def test_the_url_has_the_user_the_password_and_the_first_host(secrets: Path) -> None:
    password = (secrets / "nodes" / "password").read_text()
    url = (secrets / "nodes" / "broker_url").read_text()
    assert url == f"amqps://mesh:{password}@{HOSTS[0]}:5671/mesh"


def test_the_key_is_one_of_the_mesh(secrets: Path) -> None:
    Fernet((secrets / "nodes" / "mesh.key").read_text().strip())


def test_the_certificate_is_for_every_host_and_signed_by_the_authority(secrets: Path) -> None:
    shown = _openssl("x509", "-in", secrets / "broker" / "tls.crt", "-noout", "-ext", NAMES)
    assert "IP Address:127.0.0.1, DNS:localhost, DNS:*.nodes.example" in shown
    authority = ["-CAfile", secrets / "nodes" / "ca.crt", "-purpose", "sslserver"]
    _openssl("verify", *authority, secrets / "broker" / "tls.crt")


def test_a_second_run_changes_nothing(secrets: Path) -> None:
    before = {file: file.read_bytes() for file in secrets.rglob("*") if file.is_file()}
    make_secrets(secrets)
    assert {file: file.read_bytes() for file in secrets.rglob("*") if file.is_file()} == before


def test_the_folders_get_the_owners_that_are_named(tmp_path: Path) -> None:
    own = f"{os.getuid()}:{os.getgid()}"
    if os.getuid() == 0:
        make_secrets(tmp_path, BROKER_OWNER="999:999", NODES_OWNER="10001:10001")
        owners = {"authority": 0, "broker": 999, "nodes": 10001}
    else:
        make_secrets(tmp_path, BROKER_OWNER=own, NODES_OWNER=own)
        owners = dict.fromkeys(("authority", "broker", "nodes"), os.getuid())
    for folder, owner in owners.items():
        assert {file.stat().st_uid for file in (tmp_path / folder).rglob("*")} == {owner}


@pytest.mark.parametrize("arguments", [[], ["folder"]])
def test_without_a_host_it_makes_nothing(tmp_path: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        ["sh", str(SCRIPT), *arguments], cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert b"secrets.sh FOLDER HOST..." in done.stderr
    assert done.returncode != 0
    assert not (tmp_path / "folder").exists()


NAMES = "subjectAltName"


def _openssl(*words: object) -> str:
    return subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
