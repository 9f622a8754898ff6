"""The spool: durable, of a known format, set aside when it is not readable; full disks lose nothing.

What the queue promises beyond its own process is in test_contract.py.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.queue.errors import InvalidRequest, QueueFull, SpoolCorrupt
from shared.queue.handler import answer
from shared.queue.limits import Limits
from shared.queue.messages import NULL, TOPICS, Lease, Message, Put
from shared.queue.spool import FORMAT, set_aside
from shared.queue.store import Store
from tests.unit.conftest import FakeClock


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool.sqlite"


@pytest.fixture
def store(spool: Path, clock: FakeClock) -> Iterator[Store]:
    store = Store(spool, clock=clock)
    yield store
    store.close()


def raw(content: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(content).encode())


def batch(*keys: str, size: int = 10) -> list[Message]:
    return [Message(key, raw("x" * (size - 2))) for key in keys]


def keys(store: Store, topic: str = "events", limit: int = 1000) -> list[str]:
    return [message.key for message in store.lease([topic], limit, 60)]


def state(store: Store, prefix: str = "") -> dict[str, Any]:
    return {entry.key: json.loads(bytes(entry.value)) for entry in store.get_state(prefix)[0]}


def reopened(store: Store, spool: Path, clock: FakeClock) -> Store:
    """The spool as the next process finds it when this one is killed."""
    store.close()
    return Store(spool, clock=clock)


# -- durable --------------------------------------------------------------------------------------


def test_what_was_committed_is_there_after_a_restart(store: Store, spool: Path, clock: FakeClock) -> None:
    store.put("events", batch("a", "b", size=100))
    store.put("results", batch("r"), {"task/r": raw({"done": True})})
    store.bury([message.id for message in store.lease(["results"], 1, 60)], "refused")
    store.commit()
    clock.advance(7)
    again = reopened(store, spool, clock)
    assert again.stats()["events"] == msgspec.structs.replace(store_stats(again, "events"), depth=2, bytes=200)
    assert store_stats(again, "events").oldest_age == pytest.approx(7)
    assert store_stats(again, "results").buried == 1
    assert state(again) == {"task/r": {"done": True}}
    assert again.get_state("task/")[0][0].age == pytest.approx(7)
    assert keys(again) == ["a", "b"]
    again.close()


def store_stats(store: Store, topic: str) -> Any:
    return store.stats()[topic]


def test_what_was_not_committed_is_not(store: Store, spool: Path, clock: FakeClock) -> None:
    store.put("events", batch("a"))
    store.commit()
    store.put("events", batch("b"), {"key": raw(1)})
    again = reopened(store, spool, clock)
    assert keys(again) == ["a"]
    assert state(again) == {}
    again.close()


def test_a_restart_hands_everything_out_again_at_once(store: Store, spool: Path, clock: FakeClock) -> None:
    store.put("events", batch("a", "b"))
    first, _ = store.lease(["events"], 2, 600)
    store.release([first.id], delay=600)
    store.commit()
    again = reopened(store, spool, clock)
    assert keys(again) == ["a", "b"]
    again.close()


def test_only_durable_state_survives(store: Store, spool: Path, clock: FakeClock) -> None:
    store.set_state({"worker/health": raw({"pid": 1})}, durable=False)
    store.set_state({"counters": raw(1), "task/1": raw(1), "task/2": raw(1)}, durable=True)
    store.set_state({"task/1": NULL}, durable=True)
    store.set_state({"task/2": NULL}, durable=False)
    store.commit()
    assert state(store) == {"worker/health": {"pid": 1}, "counters": 1}
    again = reopened(store, spool, clock)
    assert state(again) == {"counters": 1}
    again.close()


def test_versions_go_on_growing_after_a_restart(store: Store, spool: Path, clock: FakeClock) -> None:
    """A watcher compares versions across the restart: what is new must not look old."""
    for number in range(5):
        store.set_state({"key": raw(number)}, durable=False)
    before = store.version
    time.sleep(0.02)  # no process starts faster
    again = reopened(store, spool, clock)
    again.set_state({"key": raw("new")}, durable=False)
    assert [entry.key for entry in again.changes("key", before)[0]] == ["key"]
    again.close()


def test_undo_forgets_what_was_not_committed(store: Store) -> None:
    store.put("events", batch("a"), {"kept": raw(1)})
    store.commit()
    store.put("events", batch("b"), {"kept": raw(2), "new": raw(2)})
    store.undo()
    assert store.stats()["events"].depth == 1
    assert keys(store) == ["a"]
    assert state(store) == {"kept": 1}


def test_undo_tells_watchers_only_of_what_it_undid(store: Store) -> None:
    store.set_state({"kept": raw(1), "changed": raw(1)}, durable=True)
    store.commit()
    seen = store.version
    store.set_state({"changed": raw(2)}, durable=True)
    store.undo()
    assert [(entry.key, entry.value) for entry in store.changes("", seen)[0]] == [("changed", raw(1))]
    seen = store.version
    store.undo()
    assert (store.version, store.changes("", seen)) == (seen, ([], seen))


# -- leases ---------------------------------------------------------------------------------------


def test_a_lease_hands_out_at_most_a_mebibyte_but_always_one_message(store: Store) -> None:
    store.put("events", batch("a", "b", "c", size=400_000))
    store.put("results", batch("huge", "next", size=2_000_000))
    assert keys(store, "events") == ["a", "b"]
    assert keys(store, "events") == ["c"]
    assert keys(store, "results") == ["huge"]
    assert keys(store, "results") == ["next"]


def test_the_next_release_is_when_the_first_lease_or_delay_ends(store: Store, clock: FakeClock) -> None:
    assert store.next_release() is None
    store.put("events", batch("a", "b"))
    store.lease(["events"], 1, 60)
    (second,) = store.lease(["events"], 1, 90)
    assert store.next_release() == clock.monotonic() + 60
    store.release([second.id], delay=5)
    assert store.next_release() == clock.monotonic() + 5
    store.ack([second.id])
    assert store.next_release() == clock.monotonic() + 60


def test_releasing_what_is_not_held_delays_nothing(store: Store) -> None:
    store.put("events", batch("a"))
    store.release([1, 4711], delay=600)
    assert keys(store) == ["a"]


# -- dead letters ---------------------------------------------------------------------------------


def test_the_last_hundred_dead_letters_are_kept_with_their_reason(store: Store, spool: Path) -> None:
    store.put("events", batch(*(f"k{number}" for number in range(150))))
    for message in store.lease(["events"], 150, 60):
        store.bury([message.id], f"because of {message.key}")
    store.commit()
    assert store.stats()["events"].buried == 150
    store.close()
    db = sqlite3.connect(spool)
    rows = db.execute("SELECT key, topic, reason FROM buried ORDER BY id").fetchall()
    db.close()
    assert len(rows) == 100
    assert rows[0] == ("k50", "events", "because of k50")
    assert rows[-1][0] == "k149"


# -- removed keys ---------------------------------------------------------------------------------


def test_no_more_than_a_thousand_removals_are_remembered(store: Store) -> None:
    version = store.version
    for number in range(1500):
        store.set_state({f"key-{number}": raw(1)}, durable=False)
        store.set_state({f"key-{number}": NULL}, durable=False)
    seen = [entry.key for entry in store.changes("key-", version)[0]]
    assert seen == [f"key-{number}" for number in range(500, 1500)]


def test_a_key_that_is_set_again_is_not_forgotten_with_its_removal(store: Store) -> None:
    store.set_state({"back": NULL}, durable=False)
    store.set_state({"back": raw("again")}, durable=False)
    for number in range(1500):
        store.set_state({f"key-{number}": NULL}, durable=False)
    assert state(store, "back") == {"back": "again"}


# -- totals ---------------------------------------------------------------------------------------

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(TOPICS), st.integers(0, 30), st.integers(2, 300)),
        st.tuples(st.just("lease"), st.sampled_from(TOPICS), st.integers(1, 5)),
        st.tuples(st.sampled_from(["ack", "bury", "release"]), st.integers(1, 40)),
    ),
    max_size=60,
)


@given(OPERATIONS)
def test_the_running_totals_equal_a_recount_and_the_bounds_hold(operations: list[tuple[Any, ...]]) -> None:
    limits = Limits(total_bytes=1500, messages={"results": 6, "notices": 4, "events": 5, "metrics": 3})
    store = Store(":memory:", limits, FakeClock())
    results = 0
    for name, *arguments in operations:
        if name == "put":
            topic, number, size = arguments
            before = store.stats()["results"].depth
            with contextlib.suppress(QueueFull):
                store.put(topic, [Message(f"k{number}", raw("x" * (size - 2)))])
            results += topic == "results" and store.stats()["results"].depth > before
        elif name == "lease":
            store.lease([arguments[0]], arguments[1], 60)
        elif name == "release":
            store.release(arguments, 0)
        else:
            gone = store.stats()["results"].depth
            store.ack(arguments) if name == "ack" else store.bury(arguments, "why")
            results -= gone - store.stats()["results"].depth
        stats = store.stats()
        assert all(stats[topic].depth <= limits.messages[topic] for topic in TOPICS)
        assert sum(fill.bytes for fill in stats.values()) <= limits.total_bytes
        assert stats["results"].depth == results, "a result is never dropped"
        assert stats["results"].dropped == 0
    kept = store.stats()
    store.commit()
    store.undo()  # counts anew what is in the tables
    assert store.stats() == kept
    store.close()


# -- what cannot be read --------------------------------------------------------------------------


def test_a_spool_of_another_format_is_set_aside(store: Store, spool: Path, clock: FakeClock) -> None:
    store.put("events", batch("a"))
    store.commit()
    store.close()
    db = sqlite3.connect(spool)
    db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    db.close()
    again = Store(spool, clock=clock)
    assert keys(again) == []
    again.put("events", batch("b"))
    again.commit()
    again.close()
    aside = sqlite3.connect(f"{spool}.format")
    assert aside.execute("SELECT key FROM message").fetchall() == [("a",)]
    aside.close()


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_file_that_is_no_spool_is_set_aside(spool: Path, clock: FakeClock, size: int) -> None:
    spool.write_bytes(b"garbage!" * size)
    store = Store(spool, clock=clock)
    store.put("events", batch("a"))
    store.commit()
    assert keys(store) == ["a"]
    store.close()
    assert Path(f"{spool}.corrupt").read_bytes() == b"garbage!" * size


def test_an_empty_file_becomes_a_spool(spool: Path, clock: FakeClock) -> None:
    spool.touch()
    store = Store(spool, clock=clock)
    assert keys(store) == []
    store.close()
    assert not Path(f"{spool}.corrupt").exists()


def damage(spool: Path) -> None:
    """Overwrite all but the first page."""
    size = spool.stat().st_size
    with spool.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def test_a_damaged_spool_is_found_when_it_is_opened(store: Store, spool: Path, clock: FakeClock) -> None:
    store.put("events", batch(*(f"k{number}" for number in range(50)), size=1000))
    store.commit()
    store.close()
    damage(spool)
    again = Store(spool, clock=clock)
    assert keys(again) == []
    again.close()
    assert Path(f"{spool}.corrupt").exists()


def test_a_spool_damaged_while_in_use_is_set_aside_and_durable_state_is_kept(
    store: Store, spool: Path, clock: FakeClock
) -> None:
    store.put("events", batch(*(f"k{number}" for number in range(3000)), size=2000))
    store.set_state({"task/1": raw("claimed")}, durable=True)
    store.set_state({"worker/health": raw("up")}, durable=False)
    store.commit()
    damaged = reopened(store, spool, clock)
    damaged.set_state({"worker/health": raw("up")}, durable=False)
    damage(spool)
    with pytest.raises(SpoolCorrupt):
        answer(damaged, Lease(["events"], 3000, 60))
    damaged.start_anew()
    assert state(damaged) == {"worker/health": "up", "task/1": "claimed"}
    assert damaged.stats()["events"].dropped == 3000, "what was lost with it is counted"
    answer(damaged, Put("events", batch("new")))
    damaged.commit()
    assert keys(damaged) == ["new"]
    again = reopened(damaged, spool, clock)
    assert state(again) == {"task/1": "claimed"}
    again.close()
    assert Path(f"{spool}.corrupt").exists()


def test_a_spool_without_its_tables_is_set_aside(store: Store, spool: Path, clock: FakeClock) -> None:
    store.close()
    with sqlite3.connect(spool) as db:
        db.execute("DROP TABLE tally")
    db.close()
    again = Store(spool, clock=clock)
    again.put("events", batch("new"))
    assert keys(again) == ["new"]
    again.close()
    assert Path(f"{spool}.corrupt").exists()


def test_a_damaged_record_hides_no_other(
    store: Store, spool: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes into an answer as it is: none of those that read the journal could read anything."""
    store.set_state({f"task/{number}": raw(number) for number in range(3)}, durable=True)
    store.commit()
    store.close()
    with contextlib.closing(sqlite3.connect(spool)) as db:
        db.execute("UPDATE state SET value = x'7b00ff' WHERE key = 'task/1'")
        db.commit()
    again = Store(spool, clock=clock)
    assert state(again) == {"task/0": 0, "task/2": 2}
    assert "the record task/1 of the spool is damaged" in caplog.text
    again.set_state({"task/1": raw("new")}, durable=True)
    assert state(again)["task/1"] == "new"
    again.close()


def test_setting_aside_takes_all_parts_and_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").write_text(f"new{suffix}")
        Path(f"{path}.corrupt{suffix}").write_text("old")
    set_aside(path, "corrupt")
    assert not path.exists()
    assert sorted(part.name for part in tmp_path.iterdir()) == [
        "spool.corrupt",
        "spool.corrupt-shm",
        "spool.corrupt-wal",
    ]
    assert Path(f"{path}.corrupt-wal").read_text() == "new-wal"


# -- what cannot be written -----------------------------------------------------------------------

PRELUDE = """
import json, resource, sys
from pathlib import Path
import msgspec
from shared.queue.handler import answer
from shared.queue.messages import Lease, Message, Put
from shared.queue.errors import QueueFull
from shared.queue.store import Store

spool = Path(sys.argv[1])

def limit(size):  # no file may grow beyond it; the write fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def put(key, size):
    answer(store, Put("results", [Message(key, msgspec.Raw(json.dumps("x" * size).encode()))]))
    store.commit()

def leased():
    return [message.key for message in store.lease(["results"], 1000, 60)]
"""


def run_with_little_disk(spool: Path, code: str) -> Any:
    command = [sys.executable, "-c", PRELUDE + code, str(spool)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_full_disk_refuses_the_put_and_keeps_what_was_there(spool: Path) -> None:
    outcome = run_with_little_disk(
        spool,
        """
store = Store(spool)
put("kept", 1000)
limit(400_000)
try:
    put("too-much", 2_000_000)
    said = "nothing"
except QueueFull as error:
    said = str(error)
depth = store.stats()["results"].depth
limit(-1)
put("later", 1000)
print(json.dumps([said, depth, leased()]))
""",
    )
    said, depth, kept = outcome
    assert said.startswith("the spool cannot be written: ")
    assert depth == 1
    assert kept == ["kept", "later"]


REOPEN = """
store = Store(spool)
put("kept", 1000)
store.close()
{shorten}
try:
    store = Store(spool)
    store.close()
except Exception:
    pass
{restore}
store = Store(spool)
print(json.dumps(leased()))
"""


def test_a_full_disk_at_the_start_does_not_set_a_good_spool_aside(spool: Path) -> None:
    code = REOPEN.format(shorten="limit(0)", restore="limit(-1)")
    assert run_with_little_disk(spool, code) == ["kept"]


def test_a_spool_that_cannot_be_opened_just_now_is_not_set_aside(spool: Path) -> None:
    """Here for want of descriptors; a lock that an earlier process still holds would be the same."""
    nofile = "resource.setrlimit(resource.RLIMIT_NOFILE, ({}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    free = "import os; free = os.dup(0); os.close(free); "
    code = REOPEN.format(shorten=free + nofile.format("free"), restore=nofile.format(256))
    assert run_with_little_disk(spool, code) == ["kept"]


def test_a_put_larger_than_all_the_room_is_refused_for_good(spool: Path, clock: FakeClock) -> None:
    store = Store(spool, Limits(total_bytes=100), clock)
    with pytest.raises(InvalidRequest):
        store.put("results", batch("big", size=101))
    store.close()


def test_what_was_put_first_goes_first_also_when_the_clock_was_set_back(
    store: Store, spool: Path, clock: FakeClock
) -> None:
    """Worse, an id given out twice is ignored by the INSERT, and the put is answered as if it had happened."""
    store.put("events", batch("old"))
    store.commit()
    store.close()
    with sqlite3.connect(spool) as db:
        db.execute("UPDATE message SET id = id + 10000000")  # some ten seconds ahead of now
    db.close()
    again = Store(spool, clock=clock)
    again.put("events", batch("new"))
    assert keys(again) == ["old", "new"]
    again.close()
