"""What every model of the contract has in common."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from pydantic import ValidationError

from shared.schemas import agent, events, metrics, tasks
from shared.schemas.wire import Incoming, Outgoing, UtcDatetime


class Said(Outgoing):
    at: UtcDatetime


class Heard(Incoming):
    at: UtcDatetime


NOON = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00",
        "2026-03-01 12:00:00",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T12:00:00.000000Z",
    ],
)
def test_a_datetime_without_a_zone_is_utc_and_others_become_it(text: str) -> None:
    at = Heard.model_validate({"at": text}).at
    assert at == NOON
    assert at.utcoffset() == timedelta(0)


def test_what_we_send_ends_in_z() -> None:
    zone = timezone(timedelta(hours=-5))
    assert json.loads(Said(at=NOON.astimezone(zone)).to_json()) == {"at": "2026-03-01T12:00:00.000Z"}


@pytest.mark.parametrize("text", ["soon", "", "2026-13-01T00:00:00Z", "2026-03-01T25:00:00Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        Heard.model_validate({"at": text})


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_a_moment_that_utc_does_not_have_is_refused_like_any_other(text: str) -> None:
    with pytest.raises(ValidationError):
        Heard.model_validate({"at": text})


def test_what_we_send_is_checked_for_typos_and_what_we_hear_is_not() -> None:
    with pytest.raises(ValidationError):
        Said.model_validate({"at": NOON, "att": NOON})
    assert Heard.model_validate({"at": NOON, "news": 1}).model_dump() == {"at": NOON}


def test_all_of_it_is_immutable() -> None:
    for message in (Said(at=NOON), Heard(at=NOON)):
        with pytest.raises(ValidationError):
            message.at = NOON


def test_every_model_of_the_contract_is_one_of_the_two_kinds() -> None:
    for module in (agent, events, metrics, tasks):
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                assert issubclass(value, (Outgoing, Incoming))
