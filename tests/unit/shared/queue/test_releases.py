"""A spool outlives the version that wrote it: the version before reads it, and the one after does.

On a volume of its own, or where a container is restarted with another image. The files are in tests/data/releases.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.queue.client import value
from shared.queue.memory import MemoryQueue
from shared.queue.messages import TOPICS
from shared.queue.places import IDS
from shared.queue.spool import FORMAT
from shared.queue.store import Store
from shared.schemas.tasks import TaskResult
from tests.sim.agent import ROOT
from tests.unit.conftest import NOON
from tests.unit.shared.queue.conftest import body, keys, messages
from tests.unit.workers.event_watcher.conftest import occurrence
from tests.unit.workers.task_runner.conftest import task
from workers.event_watcher.checkpoint import Checkpoint
from workers.task_runner.records.journal import Journal

RELEASES = ROOT / "tests" / "data" / "releases"
PREVIOUS = "0.1.0"


def opened(spool: Path) -> MemoryQueue:
    """The queue over ``spool``, as this version has it."""
    queue = MemoryQueue()
    queue.store.close()
    queue.store = Store(spool)
    return queue


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[MemoryQueue]:
    """What the previous release left, found by this version."""
    spool = tmp_path / "spool.sqlite"
    shutil.copy(RELEASES / f"{PREVIOUS}.sqlite", spool)
    queue = opened(spool)
    yield queue
    queue.store.close()
    assert not list(tmp_path.glob("*.format")) + list(tmp_path.glob("*.corrupt"))


# -- upgrade --------------------------------------------------------------------------------------


def test_what_waited_is_delivered(kept: MemoryQueue) -> None:
    assert {topic: fill.depth for topic, fill in kept.stats().items() if fill.depth} == {
        "results": 3,
        "events": 5,
        "metrics": 2,
    }
    results = kept.lease(["results"], 10, 60)
    assert [TaskResult.model_validate(body(result)).task_id for result in results] == ["done-1", "done-2", "junk"]
    assert keys(kept.lease(["notices"], 10, 60)) == []
    assert keys(kept.lease(["events"], 10, 60)) == [f"e{number}" for number in range(5)]
    assert keys(kept.lease(["metrics"], 10, 60)) == ["s0", "s1"]
    kept.ack([result.id for result in results])
    kept.put("notices", messages("n"))
    assert keys(kept.lease(["notices"], 10, 60)) == ["n"]


def test_a_dead_letter_is_shown_and_sent_again(kept: MemoryQueue) -> None:
    (letter,) = kept.dead_letters()
    assert (letter.topic, letter.key, letter.reason) == ("results", "done-0", "Central answered 422 to result")
    assert kept.stats()["results"].buried == 1
    kept.revive([letter.id])
    assert keys(kept.lease(["results"], 10, 60))[-1] == "done-0"


def test_work_under_way_goes_on_and_what_was_done_is_known(kept: MemoryQueue) -> None:
    journal = Journal(kept)
    claims = {claim.task.task_id: claim for claim in journal.load()}
    assert set(claims) == {"drain", "delete"}
    assert claims["drain"].notes == {"cordoned_by_us": True, "origin": {"node": "node-2"}}
    assert claims["delete"].notes == {"pod_uid": "uid-web-0"}
    assert all(claim.resumed for claim in claims.values())
    assert [journal.finished(task_id) is not None for task_id in ("done-0", "done-2", "junk", "new")] == [
        True,
        True,
        True,
        False,
    ]
    assert journal.was_executed("done-1")


def test_events_that_were_told_are_not_told_again(kept: MemoryQueue) -> None:
    saved = {key: value(entry) for key, entry in kept.get_state("checkpoint/").items()}
    checkpoint = Checkpoint("checkpoint/events", saved)
    assert (checkpoint.version, checkpoint.time) == ("4711", NOON)


# -- downgrade ------------------------------------------------------------------------------------

READ = """
import json, sys
import shared
assert "0.1.0.zip" in shared.__file__, shared.__file__
from datetime import datetime, timezone
from shared.queue.memory import MemoryQueue
from shared.queue.store import Store
from shared.schemas.tasks import TaskResult
from workers.task_runner.journal import Journal
queue = MemoryQueue()
queue.store.close()
queue.store = Store(sys.argv[1])
journal = Journal(queue)
claims = {claim.task.task_id: claim.notes for claim in journal.load()}
result = TaskResult(task_id="drain", status="success", logs="", executed_at=datetime.now(timezone.utc),
                    duration_seconds=1.0)
journal.finish(result, datetime.now(timezone.utc))
events = queue.lease(["events"], 10, 60)
queue.ack([event.id for event in events])
print(json.dumps({
    "claims": claims,
    "finished": journal.finished("done") is not None,
    "results": [message.key for message in queue.lease(["results"], 10, 60)],
    "events": [message.key for message in events],
    "metrics": [message.key for message in queue.lease(["metrics"], 10, 60)],
}))
queue.store.close()
"""


def by_the_previous_release(spool: Path) -> Any:
    """What its queue and its journal find in ``spool``; it also ends a drain, and delivers the events."""
    env = {**os.environ, "PYTHONPATH": str(RELEASES / f"{PREVIOUS}.zip")}
    command = [sys.executable, "-c", READ, str(spool)]
    done = subprocess.run(command, cwd=spool.parent, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_previous_release_goes_on_with_what_this_version_left_and_this_one_again_after_it(tmp_path: Path) -> None:
    spool = tmp_path / "spool.sqlite"
    queue = opened(spool)
    journal = Journal(queue)
    journal.claim(task(task_id="done"))
    journal.finish(TaskResult(task_id="done", status="success", logs="", executed_at=NOON, duration_seconds=1.0), NOON)
    claim = journal.claim(task("drain_node", {"node_name": "node-2"}, task_id="drain"))
    journal.note(claim, cordoned_by_us=True)
    queue.put("events", [("e1", occurrence("e1").to_json())])
    queue.put("notices", [("n1", occurrence("n1").to_json()), ("n2", occurrence("n2").to_json())])
    queue.put("metrics", messages("s1"))
    (notice,) = queue.lease(["notices"], 1, 60)
    queue.bury([notice.id], "Central answered 422")
    queue.store.close()

    assert by_the_previous_release(spool) == {
        "claims": {"drain": {"cordoned_by_us": True}},
        "finished": True,
        "results": ["done", "drain"],
        "events": ["e1"],
        "metrics": ["s1"],
    }
    assert sorted(path.name for path in tmp_path.glob("spool*") if path.suffix not in ("-wal", "-shm")) == [
        "spool.sqlite"
    ]

    queue = opened(spool)
    assert Journal(queue).load() == []
    assert keys(queue.lease(["notices"], 10, 60)) == ["n2"], "what it did not know it left alone"
    assert [letter.topic for letter in queue.dead_letters()] == ["notices"]
    stats = queue.stats()
    assert (stats["notices"].buried, stats["results"].depth, stats["events"].depth) == (1, 2, 0)
    queue.store.close()


# -- the next format ------------------------------------------------------------------------------


def of_the_next_format(spool: Path, readable_since: int) -> None:
    """A spool of a format to come: a table, a column and a topic more, and whether this version may use it."""
    queue = opened(spool)
    queue.put("results", messages("r"), {"task/1": "claimed"})
    queue.store.close()
    with closing(sqlite3.connect(spool)) as db:
        db.execute("ALTER TABLE buried ADD COLUMN kind TEXT")
        db.execute("CREATE TABLE more (key TEXT)")
        place = (max(IDS[topic].start for topic in TOPICS) >> 56) + 3
        db.execute("INSERT INTO message VALUES (?, 'whispers', 'w', x'31', 0.0)", (place << 56,))
        db.execute("INSERT INTO tally VALUES ('whispers', 3, 4)")
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
        db.execute(f"PRAGMA application_id = {readable_since}")
        db.commit()


def test_the_next_format_is_used_if_it_says_that_it_may_be(tmp_path: Path) -> None:
    spool = tmp_path / "spool.sqlite"
    of_the_next_format(spool, readable_since=FORMAT)
    queue = opened(spool)
    (message,) = queue.lease(["results"], 10, 60)
    assert message.key == "r"
    assert list(queue.get_state("task/")) == ["task/1"]
    assert set(queue.stats()) == set(TOPICS)
    queue.bury([message.id], "why")
    assert [letter.key for letter in queue.dead_letters()] == ["r"]
    queue.store.close()
    with closing(sqlite3.connect(spool)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT + 1,), "it is still the newer one's"
        assert db.execute("SELECT key FROM message WHERE topic = 'whispers'").fetchall() == [("w",)]
        assert db.execute("SELECT * FROM tally WHERE topic = 'whispers'").fetchall() == [("whispers", 3, 4)]


@pytest.mark.parametrize("readable_since", [0, FORMAT + 1])
def test_else_it_is_set_aside(tmp_path: Path, readable_since: int) -> None:
    spool = tmp_path / "spool.sqlite"
    of_the_next_format(spool, readable_since)
    queue = opened(spool)
    assert queue.lease(["results"], 10, 60) == []
    queue.store.close()
    assert (tmp_path / "spool.sqlite.format").exists()
