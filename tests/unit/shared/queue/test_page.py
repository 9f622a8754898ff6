"""The page on reliability says what the code does."""

from __future__ import annotations

import re
import socket

import pytest

from shared.basics import telemetry
from shared.basics.errors import PermanentError
from shared.basics.logs import MAX_LINE
from shared.basics.telemetry import LONGEST_LABEL, MOST_SERIES
from shared.basics.throttle import BURST, PER_SECOND
from shared.basics.transfer import MAX_HEAD
from shared.central.client import CALL_TIMEOUT, CONNECT_TIMEOUT, GZIP_FROM, MAX_BODY, READ_TIMEOUT
from shared.central.identity import QUOTED
from shared.central.items import MAX_ITEMS, MAX_STEPS
from shared.central.stream import MAX_FRAME as STREAM_FRAME
from shared.central.stream import MAX_HANDSHAKE
from shared.central.verdicts import LONGEST_RETRY_AFTER
from shared.queue.broker import MAX_CONNECTIONS, SILENCE
from shared.queue.client import QueueClient, QueueRefused
from shared.queue.frames import MAX_FRAME
from shared.queue.limits import (
    BURIED_BYTES,
    BURIED_KEPT,
    LEASE_BYTES,
    MAX_KEY,
    MAX_MESSAGE,
    MAX_RECORD,
    PAGE_BYTES,
    RESERVE,
    Limits,
)
from shared.queue.messages import EVENTS, METRICS, NOTICES, RESULTS
from tests.sim.agent import ROOT
from tests.unit.conftest import counted, eventually
from tests.unit.shared.queue.conftest import RunningBroker
from workers.event_watcher.aggregate import REMEMBERED, STORM_BURST, STORM_RATE, WINDOW_SECONDS
from workers.event_watcher.checkpoint import LATENESS, PIECE, PIECES
from workers.health.http import CONCURRENT, REQUEST_SECONDS
from workers.health.rules import SILENCE as WORKER_SILENCE
from workers.health.rules import START_ALLOWANCE
from workers.health.worker import CONFIRM, FORGIVE, LATE_LOOK
from workers.heartbeat.delivery import BATCH_BYTES, BATCH_MESSAGES, EVENTS_PAUSE, LEASE_SECONDS, PASS_SECONDS
from workers.heartbeat.goodbye import CLOSE_SECONDS, FLUSH_SECONDS, UNDER_WAY_SECONDS
from workers.heartbeat.patience import (
    FIRST_ASIDE,
    GIVE_UP_SECONDS,
    LAST_FAILURES,
    LAST_PAUSE,
    LONGEST_ASIDE,
    PARKED_SECONDS,
    PATIENT_TRIES,
)
from workers.task_runner.execution import _LONGEST_ERROR
from workers.task_runner.receiving.intake import MAX_PAYLOAD, MAX_TASK
from workers.task_runner.runner import MAX_CLAIMED, MAX_CLAIMED_BYTES
from workers.task_runner.work import calls, evictor
from workers.task_runner.work.account import MAX_BYTES as MAX_LOGS

PAGE = (ROOT / "docs" / "reliability.md").read_text()
KIB, MIB = 1024, 1024 * 1024
ORDINALS = {8: "eighth"}
WAITING = Limits().messages


@pytest.mark.parametrize(
    ("what", "bound"),
    [
        ("messages waiting, all topics", f"{Limits().total_bytes // MIB} MiB of bodies"),
        (
            "results, notices, events, metrics waiting",
            f"{WAITING[RESULTS]:,}, {WAITING[NOTICES]:,}, {WAITING[EVENTS]:,}, {WAITING[METRICS]:,}",
        ),
        ("one message, one frame of the socket", f"{MAX_MESSAGE // MIB} MiB, {MAX_FRAME // MIB} MiB"),
        ("a record of the state, a key", f"{MAX_RECORD // MIB} MiB, {MAX_KEY // KIB} KiB, as JSON"),
        (
            "durable state (journal, checkpoints)",
            f"{Limits().state_bytes // MIB} MiB as JSON, an {ORDINALS[RESERVE]} of it for what is written with results",
        ),
        ("state that dies with the broker (beats, telemetry)", f"{Limits().passing_bytes // MIB} MiB as JSON"),
        ("one page of the state", f"{PAGE_BYTES // MIB} MiB, but one record always"),
        ("dead letters", f"the last {BURIED_KEPT}, and {BURIED_BYTES // MIB} MiB, are kept"),
        ("connections to the queue", f"{MAX_CONNECTIONS}"),
        ("a connection that stays silent, or owes the rest of a frame", f"{SILENCE:g} s"),
        ("connections to the health port", f"{CONCURRENT}"),
        ("one such connection", f"{REQUEST_SECONDS:g} s in all"),
        ("answers a client leaves unread", f"{2 * MAX_FRAME // MIB} MiB"),
        ("a lease", f"{BATCH_MESSAGES} messages, {LEASE_BYTES // MIB} MiB, {LEASE_SECONDS:g} s"),
        ("one pass over a lease", f"begins no post after {PASS_SECONDS:g} s"),
        ("one post of events", f"{BATCH_MESSAGES} events, {BATCH_BYTES // KIB} KiB"),
        ("pause in which events gather after a post", f"{EVENTS_PAUSE:g} s"),
        (
            "a call to Central",
            f"{CONNECT_TIMEOUT:g} s to connect, {READ_TIMEOUT:g} s of silence, {CALL_TIMEOUT:g} s in all,"
            f" {MAX_BODY // MIB} MiB of answer",
        ),
        ("status line and headers of an answer, of Central or the API server", f"{MAX_HEAD // KIB} KiB"),
        ("the answer to the stream's handshake, with its body", f"{MAX_HANDSHAKE // KIB} KiB"),
        (
            "tasks of one poll, or of one frame of the stream",
            f"{MAX_BODY // MIB} MiB and {MAX_ITEMS:,} tasks; {STREAM_FRAME // MIB} MiB and {MAX_ITEMS:,} tasks",
        ),
        (
            "items of a poll or a frame that are no tasks",
            f"looked at without being decoded, for {MAX_STEPS:,} brackets, braces and quotes in all",
        ),
        (
            "tasks that are claimed and have no result",
            f"{MAX_CLAIMED:,}, and {MAX_CLAIMED_BYTES // MIB} MiB as JSON",
        ),
        (
            "requests under way",
            f"{evictor.PARALLEL} evictions, half of them for one namespace and for all slow ones;"
            f" {calls.PARALLEL} other calls, {calls.RECORDS} to the queue",
        ),
        ("a task's logs, its error", f"{MAX_LOGS // KIB} KiB, {_LONGEST_ERROR // KIB} KiB"),
        ("a task as Central wrote it", f"{MAX_PAYLOAD // KIB} KiB, and {MAX_TASK // KIB} KiB once it is read"),
        (
            "log lines of one place in the code, of one process",
            f"{BURST:,} at once, then {PER_SECOND:g} a second; {MAX_LINE // KIB} KiB each",
        ),
        ("label values of one metric", f"{MOST_SERIES} combinations of {LONGEST_LABEL} characters each"),
        ("what is quoted of an answer", f"{QUOTED} characters, without the key"),
        ("the last deliveries when the pod stops", f"{FLUSH_SECONDS:g} s, {CLOSE_SECONDS:g} s with the goodbye"),
        ("a call that is under way when the pod stops", f"{UNDER_WAY_SECONDS:g} s"),
        (
            "a message that fails at the end",
            f"tried again after {LAST_PAUSE:g} s; after {LAST_FAILURES} in a row its kind is",
        ),
        (
            "a message that something before Central refuses",
            f"for {GIVE_UP_SECONDS:g} s, while others of its kind go",
        ),
        ("bodies that are compressed", f"from {GZIP_FROM // KIB} KiB, when Central says `Accept-Encoding: gzip`"),
        ("`Retry-After`", f"obeyed up to {LONGEST_RETRY_AFTER:g} s"),
        ("a message that fails while heartbeats pass", f"{PATIENT_TRIES} times in a row"),
        (
            "a kind of message whose next one fails likewise",
            f"held back for {FIRST_ASIDE:g} s, doubling to {LONGEST_ASIDE:g} s, one message tried each time",
        ),
        ("repeats of an event", f"one in {WINDOW_SECONDS:g} s, of the {REMEMBERED:,} ids seen last"),
        ("first sights in a storm", f"{STORM_BURST:,} of each type, then {STORM_RATE:g} a second"),
        ("ids a restart remembers", f"the {PIECE * PIECES:,} forwarded last, of each watch"),
        ("how late an event may show up", f"{LATENESS.seconds // 60} minutes before the checkpoint"),
    ],
)
def test_the_bounds_of_the_page_are_those_of_the_code(what: str, bound: str) -> None:
    assert f"\n| {what} | {bound} |" in PAGE


def test_a_message_that_is_set_aside_comes_back_after_as_long_as_the_page_says() -> None:
    assert f"set aside for {PARKED_SECONDS:g} s" in PAGE


def test_a_worker_is_called_hung_after_as_long_as_the_page_says() -> None:
    assert f"it says nothing for {WORKER_SILENCE:g} s | once every look has found it so for {CONFIRM:g} s" in PAGE
    assert f"a second time within {FORGIVE / 60:g} min" in PAGE
    assert f"in the new broker's first {START_ALLOWANCE:g} s" in PAGE
    assert f"looks more than {LATE_LOOK:g} s apart do not add up" in PAGE


def test_every_test_the_page_names_is_there() -> None:
    names = set(re.findall(r"`(test_\w+\.py)`", PAGE))
    assert len(names) > 5
    assert sorted(name for name in names if not list((ROOT / "tests").rglob(name))) == []


BOUNDS = [
    [cell.strip() for cell in line[1:-1].split("|")]
    for line in PAGE.partition("## Bounds")[2].partition("\n## ")[0].splitlines()
    if line.startswith("| ") and not line.startswith("| what |")
]
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}
METRICS_KNOWN = {f"{family.name}{'_total' * (family.type == 'counter')}" for family in telemetry.REGISTRY.collect()}


@pytest.mark.parametrize("row", BOUNDS, ids=[row[0] for row in BOUNDS])
def test_each_bound_of_the_page_is_tried_and_told_by_what_there_is(row: list[str]) -> None:
    """Its tests go beyond it; and the counters that tell of it are on /metrics."""
    _what, bound, _beyond, told, tried = row
    assert bound
    trials = re.findall(r"`(test_\w+)`", tried)
    assert trials, "nothing tries it"
    assert set(trials) <= TESTS
    assert set(re.findall(r"`(cloudoptim_\w+)", told)) <= METRICS_KNOWN


def test_there_are_no_fewer_bounds_than_there_were() -> None:
    assert len(BOUNDS) >= 42


# -- what is told of those who go beyond them -------------------------------------------------------


def hits(bound: str) -> float:
    return counted("bound_hits_total", bound=bound)


def test_what_the_broker_refuses_or_cuts_off_is_counted(running: RunningBroker, client: QueueClient) -> None:
    before = {bound: hits(f"queue_{bound}") for bound in ("invalid", "room", "connections")}
    with pytest.raises(PermanentError):
        client.set_state({"key": "x" * MAX_RECORD})
    for number in range(7):
        client.set_state({f"passing/{number}": "x" * (MAX_RECORD - 2)})
    with pytest.raises(QueueRefused):
        client.set_state({"passing/7": "x" * (MAX_RECORD - 2)})
    idle = []
    for _ in range(MAX_CONNECTIONS + 5):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(running.path))
        idle.append(connection)
    eventually(lambda: hits("queue_connections") > before["connections"])
    for connection in idle:
        connection.close()
    assert hits("queue_invalid") == before["invalid"] + 1
    assert hits("queue_room") == before["room"] + 1
