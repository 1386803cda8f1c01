"""The tree of errors: what a caller may rely on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh import errors
from miros_mesh.errors import ConfigError, FrameError, LinkError, MeshError, SelectionError


def tree(root: type[MeshError]) -> list[type[MeshError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in tree(child))]


def test_every_error_of_the_module_is_a_mesh_error_and_says_what_it_means() -> None:
    public = [each for each in vars(errors).values() if isinstance(each, type)]
    assert all(issubclass(each, MeshError) and each.__doc__ for each in public)


# Each takes a text; those of settings take several, and put each on a line of its own.
@pytest.mark.parametrize("error", tree(MeshError))
@given(said=st.text(), other=st.text())
def test_no_error_brings_foreign_control_characters_to_a_terminal(
    error: type[MeshError], said: str, other: str
) -> None:
    if issubclass(error, ConfigError):
        shown = str(error((said, other))).split("\n")
        assert len(shown) == (2 if error is SelectionError else 3)
    else:
        shown = [str(error(said))]
    assert all(line.isprintable() for line in shown)


def test_an_error_that_is_printable_says_what_it_was_given() -> None:
    assert str(errors.PayloadError("ein Wert: ß, 猫, \\x1b")) == "ein Wert: ß, 猫, \\x1b"
    assert str(errors.PayloadError("\x1b[31m\u202e\udc80\n")) == r"\x1b[31m\u202e\udc80\n"


def test_only_what_heals_by_itself_is_retryable() -> None:
    assert {error.__name__ for error in tree(MeshError) if error.retryable} == {
        "BrokerUnreachableError",
        "ConnectionLostError",
        "ConfirmTimeoutError",
        "ConsumerTimeoutError",
        "DiskFullError",
        "GoneError",
        "LettersInUseError",
        "NoMeshError",
        "NodeNameTakenError",
        "NotAmqpError",
        "RequestFailedError",
        "RequestTimedOutError",
        "RequestUnroutableError",
        "StoreUnavailableError",
    }


def test_each_refusal_of_a_frame_has_a_reason_of_its_own() -> None:
    reasons = [error.reason for error in tree(FrameError) if issubclass(error, FrameError)]
    assert len(set(reasons)) == len(reasons)
    assert all(reason.isidentifier() and reason.islower() for reason in reasons)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ConfigError, ValueError),
        (errors.AddressError, ValueError),
        (errors.RoutingKeyError, ValueError),
        (errors.EncryptionKeyError, ValueError),
        (errors.PayloadError, TypeError),
        (errors.EventTooLargeError, ValueError),
        (errors.NotStartedError, RuntimeError),
        (errors.StoppedError, RuntimeError),
        (errors.RequestTimedOutError, TimeoutError),
    ],
)
def test_misuse_is_also_the_builtin_error_that_a_stranger_expects(
    error: type[MeshError], builtin: type[Exception]
) -> None:
    assert issubclass(error, builtin)


def test_a_broker_error_is_no_misuse() -> None:
    assert not any(issubclass(error, (ValueError, RuntimeError)) for error in tree(LinkError))


def test_a_config_error_lists_every_problem_on_a_line_of_its_own() -> None:
    error = ConfigError(("a is wrong", "b is missing"))
    assert str(error) == "2 settings need attention:\n  - a is wrong\n  - b is missing"
    assert str(ConfigError(("a is wrong",))) == "1 setting needs attention:\n  - a is wrong"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_config_error_can_be_rebuilt_as_another_process_would(
    duplicate: Callable[[ConfigError], ConfigError],
) -> None:
    error = ConfigError(("a is wrong", "b is missing"))
    again = duplicate(error)
    assert again.problems == error.problems
    assert str(again) == str(error)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_so_can_one_of_a_full_disk(duplicate: Callable[[Any], Any]) -> None:
    error = errors.DiskFullError("/disk/broker.db")
    assert str(duplicate(error)) == str(error)
    assert str(error).startswith("/disk/broker.db cannot be written: its disk is full")
