"""The words loops decide by."""

from __future__ import annotations

from shared.basics.errors import (
    EXIT_CONFIG,
    EXIT_UNAUTHORIZED,
    AgentError,
    AuthenticationError,
    ConfigurationError,
    PermanentError,
    TemporaryError,
)


def test_try_again_give_up_and_ask_a_person_are_three_different_things() -> None:
    kinds: tuple[type[AgentError], ...] = (TemporaryError, PermanentError, AuthenticationError)
    for kind in kinds:
        assert issubclass(kind, AgentError)
        assert not any(issubclass(kind, other) for other in kinds if other is not kind)


def test_a_temporary_error_carries_the_wish_of_the_other_side() -> None:
    assert TemporaryError("busy").delay is None
    assert TemporaryError("busy", 7).delay == 7
    assert str(TemporaryError("busy", 7)) == "busy"


def test_an_authentication_error_carries_the_status() -> None:
    assert AuthenticationError("no").status == 401
    assert AuthenticationError("no", 403).status == 403


def test_a_configuration_error_lists_its_problems() -> None:
    error = ConfigurationError(["A is not set", "B is odd"])
    assert error.problems == ["A is not set", "B is odd"]
    assert str(error) == "A is not set; B is odd"


def test_exit_statuses_are_those_of_sysexits() -> None:
    assert (EXIT_UNAUTHORIZED, EXIT_CONFIG) == (77, 78)
