"""A secret in a file, and settings that compare by the file."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import ConfigError, SecretFileError
from support.charts_at_work import KEY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(0o600)
    path.write_text("old\n")
    return path


def test_it_is_what_the_file_holds_at_the_moment(file: Path) -> None:
    secret = SecretFile(file)
    assert secret.read() == "old"

    file.write_text("new\r\n")

    assert secret.read() == "new"


def test_it_shows_neither_the_secret_nor_the_path(file: Path) -> None:
    assert repr(SecretFile(file)) == "SecretFile()"


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_empty_one_is_no_secret(file: Path, content: str) -> None:
    file.write_text(content)

    with pytest.raises(SecretFileError, match="^names an empty file$"):
        SecretFile(file).read()


def test_one_that_cannot_be_read_says_why_and_not_where(tmp_path: Path) -> None:
    with pytest.raises(SecretFileError, match=r"^names a file that cannot be read: Is a dir\w+$"):
        SecretFile(tmp_path).read()


def test_a_relative_path_stays_where_it_was(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = SecretFile(Path(file.name))

    monkeypatch.chdir("/")

    assert secret.read() == "old"
    assert secret == SecretFile(file)


@pytest.mark.parametrize(
    ("variable", "contents"),
    [
        ("RABBIT_PASSWORD", ("old", "new")),
        ("BROKER_URL", ("amqp://u:old@h", "amqp://other:new@h")),
    ],
)
def test_settings_of_one_file_are_equal_whatever_it_holds(
    file: Path, tmp_path: Path, variable: str, contents: tuple[str, str]
) -> None:
    environ = {f"MIROS_MESH_{variable}_FILE": str(file), "MIROS_MESH_ENCRYPTION_KEY": KEY}
    if variable == "RABBIT_PASSWORD":
        environ["RABBIT_USER"] = "u"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.touch(0o600)
    made = []
    for content in contents:
        for path in (file, elsewhere):
            path.write_text(content)
        made.append(MeshConfig.from_env(environ))
    before, after = made

    assert [each.brokers[0].password for each in made] == ["old", "new"]
    assert before == after
    assert hash(before) == hash(after)
    other = MeshConfig.from_env(environ | {f"MIROS_MESH_{variable}_FILE": str(elsewhere)})
    assert after.brokers == other.brokers
    assert after != other


def test_settings_of_a_file_tell_what_it_holds_now(file: Path) -> None:
    config = MeshConfig(rabbit_user="u", rabbit_password=SecretFile(file), mesh_encryption_key=KEY)
    file.write_text("new")

    assert [broker.password for broker in config.brokers] == ["old"]
    assert [broker.password for broker in config.brokers_now()] == ["new"]
    assert "'old'" not in repr(config)
    assert ":old@" not in repr(config)
    # With other settings beside it the file is read anew.
    assert config.overridden(outbox_events=7).brokers == config.brokers_now()


def test_a_password_given_directly_has_no_file() -> None:
    config = MeshConfig(rabbit_user="u", rabbit_password="p", mesh_encryption_key=KEY)
    assert config.credentials_file is None


# Who may read it. Root can be any user, so the rule of others is tried in a process of another one.

NOBODY = 65_534
READ = """
import os, sys
from pathlib import Path
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import ConfigError, SecretFileError
user, group, path = sys.argv[1:]
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
try:
    print(SecretFile(Path(path)).read(), end="")
except SecretFileError as error:
    print(error, end="")
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_one_of_this_user_alone_is_read(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert SecretFile(file).read() == "old"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666, 0o602, 0o620, 0o777])
def test_one_that_others_may_read_or_write_is_refused_with_the_remedy(
    file: Path, mode: int
) -> None:
    file.chmod(mode)

    with pytest.raises(SecretFileError) as raised:
        SecretFile(file).read()

    assert str(raised.value) == (
        f"names {file}, which is open to other users (mode {mode:04o}); run: chmod 600 {file}"
    )


def test_the_remedy_can_be_pasted_into_a_shell(file: Path) -> None:
    odd = file.rename(file.with_name("my secret; true"))
    odd.chmod(0o644)
    with pytest.raises(SecretFileError) as raised:
        SecretFile(odd).read()

    subprocess.run(str(raised.value).rpartition("run: ")[2], shell=True, check=True)

    assert SecretFile(odd).read() == "old"


def test_of_a_link_the_file_counts_that_it_leads_to(file: Path, tmp_path: Path) -> None:
    # As Kubernetes mounts a secret: each link is open to all
    (tmp_path / "..data").symlink_to(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(Path("..data") / file.name)
    assert SecretFile(link).read() == "old"

    file.chmod(0o644)

    with pytest.raises(SecretFileError, match=r"mode 0644"):
        SecretFile(link).read()


def test_settings_name_the_variable_of_a_key_that_others_may_read(file: Path) -> None:
    file.write_text(KEY.decode())
    file.chmod(0o644)

    with pytest.raises(ConfigError) as raised:
        MeshConfig.from_env({"MIROS_MESH_ENCRYPTION_KEY_FILE": str(file)})

    [problem] = raised.value.problems
    assert problem.startswith(
        f"MIROS_MESH_ENCRYPTION_KEY_FILE names {file}, which is open to other users"
    )
    assert KEY.decode() not in str(raised.value)


def test_a_password_that_others_may_read_meanwhile_is_not_taken(file: Path) -> None:
    config = MeshConfig(rabbit_user="u", rabbit_password=SecretFile(file), mesh_encryption_key=KEY)
    file.chmod(0o644)

    with pytest.raises(ConfigError, match="rabbit_password names .* chmod 600"):
        config.brokers_now()


def as_user(user: int, group: int, path: Path) -> str:
    """What a process of another user reads, or why it does not."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(user), str(group), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.fixture
def shared_file() -> Iterator[Path]:
    """One in a folder that every user may enter, which those of pytest are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "secret"
        path.write_text("old")
        yield path


@needs_root
@pytest.mark.parametrize(
    ("owner", "group", "mode", "reads"),
    [
        # As systemd's LoadCredential= and Kubernetes with an fsGroup give it
        (0, 4711, 0o440, True),
        (0, 4711, 0o640, True),
        (NOBODY, 0, 0o400, True),
        (NOBODY, 4711, 0o440, False),
        (0, 4711, 0o644, False),
        (0, 4711, 0o660, False),
        (4711, 4711, 0o640, False),
    ],
)
def test_a_user_reads_what_is_closed_to_others_and_what_root_gives_a_group(
    shared_file: Path, owner: int, group: int, mode: int, reads: bool
) -> None:
    os.chown(shared_file, owner, group)
    shared_file.chmod(mode)
    assert (as_user(NOBODY, 4711, shared_file) == "old") is reads


@needs_root
def test_one_in_a_folder_that_is_closed_to_this_user_is_a_problem_of_its_setting(
    shared_file: Path,
) -> None:
    shared_file.parent.chmod(0o700)
    code = (
        "import os, sys\n"
        "from miros_mesh import ConfigError, MeshConfig\n"
        "os.setgroups([]); os.setuid(int(sys.argv[1]))\n"
        "try: MeshConfig.from_env({'MIROS_MESH_ENCRYPTION_KEY_FILE': sys.argv[2]})\n"
        "except ConfigError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(NOBODY), str(shared_file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "names a file that cannot be read: Permission denied" in done.stdout


@needs_root
@pytest.mark.parametrize(
    ("owner", "group", "mode", "remedy"),
    [
        (0, 4711, 0o644, "as root, run: chmod 640 {}"),
        (0, 0, 0o644, "as root, run: chgrp 4711 {0} && chmod 640 {0}"),
        (4711, 4711, 0o440, f"as root, run: chown {NOBODY} {{0}} && chmod 600 {{0}}"),
        (NOBODY, 4711, 0o644, "run: chmod 600 {}"),
    ],
)
def test_the_remedy_fits_whose_file_it_is(
    shared_file: Path, owner: int, group: int, mode: int, remedy: str
) -> None:
    os.chown(shared_file, owner, group)
    shared_file.chmod(mode)

    words = as_user(NOBODY, 4711, shared_file)

    assert words.endswith(f"; {remedy.format(shared_file)}")
    for command in remedy.format(shared_file).rpartition("run: ")[2].split(" && "):
        subprocess.run(command.split(), check=True)
    assert as_user(NOBODY, 4711, shared_file) == "old"


MOUNTED = """
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/..data"
printf old > "$1/..data/secret"
chmod 644 "$1/..data/secret"
ln -s ..data/secret "$1/secret"
mount -o remount,ro "$1"
exec "$2" -c "$3" 65534 4711 "$1/secret"
"""


@needs_root
@pytest.mark.usefixtures("small_disks")
def test_a_volume_of_kubernetes_as_it_is_by_default_is_refused_with_what_to_set(
    shared_file: Path,
) -> None:
    # Given a folder in memory, mounted read-only, which only this process tree sees
    private = ["unshare", "--mount", "--propagation", "private"]
    script = ["sh", "-ec", MOUNTED, "sh", str(shared_file.parent), sys.executable, READ]
    done = subprocess.run(
        [*private, *script], capture_output=True, text=True, timeout=60, check=False
    )

    # Then no command is named, which could change nothing there
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"names {shared_file}, which is open to other users (mode 0644); it is mounted "
        "read-only: mount it with mode 0440 (Kubernetes: defaultMode: 0440, and an fsGroup; "
        "Docker: mode: 0440, and a gid)"
    )


@needs_root
def test_root_reads_the_own_file_of_a_user(file: Path) -> None:
    os.chown(file, NOBODY, NOBODY)
    assert SecretFile(file).read() == "old"


def test_a_pipe_of_a_shell_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"old\n")
    os.close(writing)
    try:
        assert SecretFile(Path(f"/dev/fd/{reading}")).read() == "old"
    finally:
        os.close(reading)


def test_what_has_no_end_is_no_secret() -> None:
    with pytest.raises(SecretFileError, match="more than 1,048,576 bytes"):
        SecretFile(Path("/dev/zero")).read()
