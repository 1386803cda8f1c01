"""`node_identity` and `allowed_nodes`: given in several forms, and refused with what is wrong."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from miros_mesh import MeshConfig
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import ConfigError
from miros_mesh.wire.keyring import generate_key
from miros_mesh.wire.signing import Signer, generate_identity

IDENTITY = generate_identity()
PUBLIC_KEY = Signer("press", IDENTITY).public_key
ALLOWED = {"press": {"public_keys": [PUBLIC_KEY], "topics": ("press.#",), "signals": {"pressed"}}}


def problem_of(**settings: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        MeshConfig(**{"node_name": "press", **settings})
    (problem,) = refused.value.problems
    return problem


def identity_file(folder: Path, content: bytes = IDENTITY, mode: int = 0o600) -> Path:
    file = folder / "press.identity"
    file.write_bytes(content + b"\n")
    file.chmod(mode)
    return file


def test_without_them_nothing_is_signed_and_all_are_heard() -> None:
    config = MeshConfig()
    assert (config.signer(), config.members()) == (None, None)


def test_an_identity_is_given_as_text_or_by_a_file(tmp_path: Path) -> None:
    file = identity_file(tmp_path)
    for given in (IDENTITY, IDENTITY.decode(), SecretFile(file)):
        signer = MeshConfig(node_name="press", node_identity=given).signer()
        assert signer is not None
        assert (signer.node, signer.public_key) == ("press", PUBLIC_KEY)


def test_an_identity_is_not_shown(tmp_path: Path) -> None:
    for given in (IDENTITY, SecretFile(identity_file(tmp_path))):
        shown = repr(MeshConfig(node_name="press", node_identity=given))
        assert IDENTITY.decode() not in shown


def test_both_come_from_files_that_variables_name(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.json"
    listed.write_text(json.dumps({"press": {"public_keys": [PUBLIC_KEY]}}), "utf-8")
    # It is no secret.
    listed.chmod(0o644)
    config = MeshConfig.from_env(
        {
            "MIROS_MESH_NODE_NAME": "press",
            "MIROS_MESH_NODE_IDENTITY_FILE": str(identity_file(tmp_path)),
            "MIROS_MESH_ALLOWED_NODES_FILE": str(listed),
        }
    )
    signer, members = config.signer(), config.members()
    assert signer is not None
    assert members is not None
    assert members.has_key("press", signer.mark)


def test_nodes_are_allowed_by_a_mapping_its_json_or_a_file(tmp_path: Path) -> None:
    text = json.dumps({"press": {"public_keys": [PUBLIC_KEY]}})
    listed = tmp_path / "allowed.json"
    listed.write_text(text, "utf-8")
    for given in (json.loads(text), text, listed, ALLOWED):
        members = MeshConfig(allowed_nodes=given).members()
        assert members is not None
        assert members.has_key("press", Signer("press", IDENTITY).mark)


def test_equal_settings_are_equal_and_travel() -> None:
    first, second = (
        MeshConfig(node_name="press", node_identity=form, allowed_nodes=copy.deepcopy(ALLOWED))
        for form in (IDENTITY, IDENTITY.decode())
    )
    assert first == second
    assert hash(first) == hash(second)
    again = pickle.loads(pickle.dumps(first))
    assert again == first
    assert again.signer().public_key == PUBLIC_KEY


def test_an_identity_needs_a_name() -> None:
    assert problem_of(node_name=None, node_identity=IDENTITY).startswith(
        "node_identity is given without node_name"
    )


@pytest.mark.parametrize(
    ("identity", "problem"),
    [
        pytest.param(b"", "no Ed25519 private key", id="empty"),
        pytest.param(b"garbled", "no Ed25519 private key", id="garbled"),
        pytest.param(7, "must be a private key", id="no text"),
        pytest.param(
            X25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            ),
            "another kind than Ed25519",
            id="another kind",
        ),
    ],
)
def test_what_is_no_identity_is_refused(identity: Any, problem: str) -> None:
    assert problem in problem_of(node_identity=identity)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
@pytest.mark.skipif(os.name != "posix", reason="files have no such rights")
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    if os.geteuid() == 0 and mode == 0o640:
        pytest.skip("of root's own the group may read")
    file = identity_file(tmp_path, mode=mode)
    problem = problem_of(node_identity=SecretFile(file))
    assert problem.startswith("node_identity names ")
    assert "open to other users" in problem
    assert problem.endswith(f"run: chmod 600 {file}")


def test_a_garbled_file_is_refused_by_the_name_of_its_variable(tmp_path: Path) -> None:
    file = identity_file(tmp_path, b"garbled")
    with pytest.raises(ConfigError, match="MIROS_MESH_NODE_IDENTITY_FILE is no Ed25519 private"):
        MeshConfig.from_env(
            {"MIROS_MESH_NODE_NAME": "press", "MIROS_MESH_NODE_IDENTITY_FILE": str(file)}
        )


def test_a_path_in_place_of_the_list_is_told_its_variable() -> None:
    with pytest.raises(ConfigError) as refused:
        MeshConfig.from_env({"MIROS_MESH_ALLOWED_NODES": "/etc/miros-mesh/allowed.json"})
    (problem,) = refused.value.problems
    assert problem.startswith("MIROS_MESH_ALLOWED_NODES: is no list of nodes: ")
    assert problem.endswith("; a file is named by MIROS_MESH_ALLOWED_NODES_FILE, or a Path")
    assert "FILE" not in problem_of(allowed_nodes='{"press": 1}')


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in problem_of(node_identity=SecretFile(tmp_path / "nowhere"))
    assert "cannot be read" in problem_of(allowed_nodes=tmp_path / "nowhere")


def test_a_key_of_the_mesh_is_no_identity() -> None:
    key = generate_key()
    problem = problem_of(node_identity=key, snoop_spy_encryption_key=(generate_key(), key))
    assert problem.startswith("node_identity is a key of the mesh, which all have")


def test_frames_for_old_nodes_cannot_be_signed() -> None:
    problem = problem_of(node_identity=IDENTITY, old_frames="write")
    assert problem.startswith("node_identity signs no frame with old_frames=write")


def test_a_node_lists_itself_with_its_own_key() -> None:
    others = {"press": {"public_keys": [Signer("press", generate_identity()).public_key]}}
    for listed in ({}, others):
        problem = problem_of(node_identity=IDENTITY, allowed_nodes=listed)
        assert problem.startswith("allowed_nodes does not list press with the public key of its")
        assert PUBLIC_KEY in problem


@pytest.mark.parametrize(
    ("allowed", "problem"),
    [
        (7, "must be a mapping of nodes"),
        ({"press": {"public_keys": [object()]}}, "must be a mapping of nodes"),
        ("garbled", "is no list of nodes"),
        ({"press": PUBLIC_KEY}, "is no list of nodes: Expected `object`"),
        ({"press": {"public_keys": ["short"]}}, "node 'press': not a public key"),
        ({"press": {"public_keys": [PUBLIC_KEY], "topics": ["a#"]}}, "would match nothing"),
        ({"press": {"public_keys": [PUBLIC_KEY], "signal": ["a"]}}, "unknown field `signal`"),
    ],
)
def test_what_is_no_list_of_nodes_is_refused(allowed: Any, problem: str) -> None:
    assert problem in problem_of(allowed_nodes=allowed)
