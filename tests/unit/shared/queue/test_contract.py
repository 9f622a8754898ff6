"""What the queue promises, held to by the broker over its socket and by its twin in memory alike."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.basics.errors import PermanentError
from shared.queue.client import Queue, QueueClient, QueueRefused, value
from shared.queue.frames import MAX_FRAME
from shared.queue.limits import BURIED_BYTES, MAX_KEY, MAX_MESSAGE, MAX_REASON, MAX_RECORD, Limits
from shared.queue.memory import MemoryQueue
from tests.unit.conftest import FakeClock, eventually
from tests.unit.shared.queue.conftest import RunningBroker, body, keys, messages

# -- messages -------------------------------------------------------------------------------------


def test_what_was_put_is_leased_in_order(queue: Queue) -> None:
    queue.put("events", messages("a", "b"))
    queue.put("events", messages("c"))
    leased = queue.lease(["events"], 10, 60)
    assert keys(leased) == ["a", "b", "c"]
    assert [body(message) for message in leased] == ["a", "b", "c"]
    assert {message.topic for message in leased} == {"events"}


def test_an_empty_queue_leases_nothing(queue: Queue) -> None:
    assert queue.lease(["results", "events", "metrics"], 10, 60) == []


def test_the_first_topic_that_has_any_is_served(queue: Queue) -> None:
    queue.put("metrics", messages("m"))
    queue.put("events", messages("e"))
    assert keys(queue.lease(["results", "events", "metrics"], 10, 60)) == ["e"]
    assert keys(queue.lease(["results", "events", "metrics"], 10, 60)) == ["m"]


def test_no_more_is_leased_than_asked_for(queue: Queue) -> None:
    queue.put("events", messages("a", "b", "c"))
    assert keys(queue.lease(["events"], 2, 60)) == ["a", "b"]
    assert keys(queue.lease(["events"], 2, 60)) == ["c"]


def test_a_leased_message_is_not_handed_out_again_before_its_lease_is_over(queue: Queue, clock: FakeClock) -> None:
    queue.put("events", messages("a"))
    assert keys(queue.lease(["events"], 10, 60)) == ["a"]
    clock.advance(59.9)
    assert queue.lease(["events"], 10, 60) == []
    clock.advance(0.1)
    assert keys(queue.lease(["events"], 10, 60)) == ["a"]


def test_an_acknowledged_message_is_gone(queue: Queue, clock: FakeClock) -> None:
    queue.put("events", messages("a", "b"))
    first, _ = queue.lease(["events"], 10, 60)
    queue.ack([first.id])
    clock.advance(60)
    assert keys(queue.lease(["events"], 10, 60)) == ["b"]


def test_acknowledging_twice_is_fine(queue: Queue) -> None:
    queue.put("events", messages("a"))
    (message,) = queue.lease(["events"], 1, 60)
    queue.ack([message.id])
    queue.ack([message.id, 4711])
    assert queue.stats()["events"].depth == 0


def test_a_released_message_comes_back_at_once_or_after_its_delay(queue: Queue, clock: FakeClock) -> None:
    queue.put("events", messages("a"))
    (message,) = queue.lease(["events"], 1, 60)
    queue.release([message.id])
    (message,) = queue.lease(["events"], 1, 60)
    queue.release([message.id], delay=300)
    clock.advance(299)
    assert queue.lease(["events"], 1, 60) == []
    clock.advance(1)
    assert keys(queue.lease(["events"], 1, 60)) == ["a"]


def test_a_delayed_message_does_not_hold_up_those_behind_it(queue: Queue) -> None:
    queue.put("events", messages("a", "b"))
    (message,) = queue.lease(["events"], 1, 60)
    queue.release([message.id], delay=300)
    assert keys(queue.lease(["events"], 10, 60)) == ["b"]


def test_putting_again_what_is_still_queued_changes_nothing(queue: Queue) -> None:
    queue.put("results", messages("a"))
    queue.put("results", [("a", b'"other"'), *messages("b")])
    leased = queue.lease(["results"], 10, 60)
    assert [body(message) for message in leased] == ["a", "b"]
    queue.ack([message.id for message in leased])
    queue.put("results", messages("a"))
    assert keys(queue.lease(["results"], 10, 60)) == ["a"]


def test_a_key_is_known_by_topic(queue: Queue) -> None:
    queue.put("events", messages("a"))
    queue.put("metrics", messages("a"))
    assert (queue.stats()["events"].depth, queue.stats()["metrics"].depth) == (1, 1)


def test_age_is_the_time_since_the_put(queue: Queue, clock: FakeClock) -> None:
    queue.put("events", messages("a"))
    clock.advance(12)
    assert queue.lease(["events"], 1, 60)[0].age == pytest.approx(12)


def test_an_unknown_topic_is_refused_for_good(queue: Queue) -> None:
    with pytest.raises(PermanentError, match="unknown topic 'gossip'; expected one of results, notices, events"):
        queue.put("gossip", messages("a"))


# -- dead letters ---------------------------------------------------------------------------------


def test_a_buried_message_is_counted_and_never_handed_out_again(queue: Queue, clock: FakeClock) -> None:
    queue.put("events", messages("a", "b"))
    (message,) = queue.lease(["events"], 1, 60)
    queue.bury([message.id], "Central answered 400")
    clock.advance(60)
    assert keys(queue.lease(["events"], 10, 60)) == ["b"]
    assert queue.stats()["events"].buried == 1


# -- bounds ---------------------------------------------------------------------------------------


def bury(queue: Queue, topic: str, *names: str, reason: str = "no such task") -> None:
    queue.put(topic, messages(*names))
    queue.bury([message.id for message in queue.lease([topic], 10, 60)], reason)


def test_dead_letters_can_be_looked_at(queue: Queue, clock: FakeClock) -> None:
    bury(queue, "results", "r1")
    clock.advance(5)
    bury(queue, "events", "e1", "e2", reason="count: not a number")
    letters = queue.dead_letters()
    assert [(letter.topic, letter.key, bytes(letter.body)) for letter in letters] == [
        ("results", "r1", b'"r1"'),
        ("events", "e1", b'"e1"'),
        ("events", "e2", b'"e2"'),
    ]
    assert [letter.reason for letter in letters] == ["no such task", *["count: not a number"] * 2]
    assert letters[1].buried_at - letters[0].buried_at == pytest.approx(5)


def test_a_dead_letter_can_be_queued_again_and_is_no_dead_letter_then(queue: Queue) -> None:
    bury(queue, "results", "r1", "r2")
    queue.put("results", messages("waits"))
    first, second = queue.dead_letters()
    assert queue.revive([second.id, 12345]) == 1
    assert keys(queue.lease(["results"], 10, 60)) == ["waits", "r2"]
    assert queue.dead_letters() == [first]
    assert queue.stats()["results"].buried == 2, "that it was refused stays counted"


def test_more_dead_letters_than_a_page_holds_are_all_shown_and_all_revived(roomy: Queue) -> None:
    for number in range(5):
        roomy.put("results", [(f"r{number}", b'"%b"' % (b"x" * 900_000))])
        (leased,) = roomy.lease(["results"], 1, 60)
        roomy.bury([leased.id], "too large")
    letters = roomy.dead_letters()
    assert [letter.key for letter in letters] == [f"r{number}" for number in range(5)]
    assert roomy.revive([letter.id for letter in letters]) == 5


def test_what_finds_no_room_stays_a_dead_letter(queue: Queue) -> None:
    """The fixture's queue takes five results."""
    bury(queue, "results", "r1", "r2")
    queue.put("results", messages("a", "b", "c", "d"))
    assert queue.revive([letter.id for letter in queue.dead_letters()]) == 1
    assert [letter.key for letter in queue.dead_letters()] == ["r2"]
    with pytest.raises(QueueRefused):
        queue.revive([letter.id for letter in queue.dead_letters()])
    assert [letter.key for letter in queue.dead_letters()] == ["r2"]


def test_all_that_is_held_can_be_let_go_at_once(queue: Queue) -> None:
    queue.put("events", messages("leased", "delayed", "free"))
    _, delayed, _ = queue.lease(["events"], 3, 60)
    queue.release([delayed.id], 300)
    queue.release_all()
    assert keys(queue.lease(["events"], 10, 60)) == ["leased", "delayed", "free"]


def test_the_oldest_of_a_full_topic_goes_and_is_counted(queue: Queue) -> None:
    queue.put("events", messages("a", "b", "c", "d", "e", "f", "g"))
    assert keys(queue.lease(["events"], 10, 60)) == ["c", "d", "e", "f", "g"]
    assert queue.stats()["events"].dropped == 2


def test_results_are_never_dropped_one_too_many_is_refused(queue: Queue) -> None:
    queue.put("results", messages("a", "b", "c", "d", "e"))
    with pytest.raises(QueueRefused, match="5 results wait to be delivered, the most allowed"):
        queue.put("results", messages("f"))
    assert keys(queue.lease(["results"], 10, 60)) == ["a", "b", "c", "d", "e"]
    assert queue.stats()["results"].dropped == 0


def test_when_bytes_run_out_metrics_go_first_then_events(queue: Queue) -> None:
    queue.put("metrics", messages("m1", size=250))
    queue.put("events", messages("e1", size=250))
    queue.put("results", messages("r1", "r2", size=250))
    dropped = []
    for key in ("r3", "r4"):
        queue.put("results", messages(key, size=250))
        stats = queue.stats()
        dropped.append((stats["metrics"].dropped, stats["events"].dropped))
    assert dropped == [(1, 0), (1, 1)]
    with pytest.raises(QueueRefused, match="1000 bytes of messages wait"):
        queue.put("results", messages("r5", size=250))


def test_events_make_room_for_events_but_never_take_it_from_results(queue: Queue) -> None:
    queue.put("results", messages("r1", "r2", size=400))
    queue.put("events", messages("e1", size=200))
    queue.put("events", messages("e2", size=200))
    assert keys(queue.lease(["events"], 10, 60)) == ["e2"]
    assert queue.stats()["results"].depth == 2


def test_metrics_make_room_for_metrics_only(queue: Queue) -> None:
    queue.put("events", messages("e1", "e2", "e3", "e4", "e5", size=200))
    with pytest.raises(QueueRefused):
        queue.put("metrics", messages("m1", size=200))
    assert queue.stats()["events"].depth == 5


def test_a_message_that_can_never_fit_is_refused_for_good(queue: Queue) -> None:
    with pytest.raises(PermanentError, match="a message of 1001 bytes can never fit into 1000"):
        queue.put("events", messages("big", size=1001))


def test_putting_again_what_is_still_queued_takes_nobodys_place(queue: Queue) -> None:
    """Nor is a full queue a reason to refuse it: it is there already."""
    queue.put("events", messages("a", "b", "c", "d", "e", size=20))
    queue.put("events", messages("c", "c", "a", size=20))
    assert (queue.stats()["events"].depth, queue.stats()["events"].dropped) == (5, 0)
    assert keys(queue.lease(["events"], 10, 60)) == ["a", "b", "c", "d", "e"]
    queue.put("results", messages("1", "2", "3", "4", "5", size=180))
    queue.put("results", messages("5", "1", size=180), state={"task/1": "done"})
    assert queue.stats()["results"].depth == 5
    assert read(queue, "task/") == {"task/1": "done"}
    queue.put("events", messages("e", "f", "f", size=20))
    assert (queue.stats()["events"].depth, queue.stats()["events"].dropped) == (5, 1)


def test_a_put_that_is_refused_drops_nothing_for_it(queue: Queue) -> None:
    queue.put("events", messages("a", size=100))
    with pytest.raises(QueueRefused):
        queue.put("results", messages("1", "2", "3", size=400))
    stats = queue.stats()
    assert (stats["events"].depth, stats["events"].dropped, stats["results"].depth) == (1, 0, 0)


def test_a_put_that_is_refused_leaves_nothing_behind(queue: Queue) -> None:
    queue.put("metrics", messages("m1"))
    with pytest.raises(QueueRefused):
        queue.put("results", messages("a", "b", "c", "d", "e", "f"), state={"task/1": {"done": True}})
    stats = queue.stats()
    assert (stats["results"].depth, stats["results"].bytes, stats["metrics"].depth) == (0, 0, 1)
    assert queue.get_state("task/") == {}


def test_stats_say_how_full_each_topic_is(queue: Queue, clock: FakeClock) -> None:
    queue.put("events", messages("a", size=100))
    clock.advance(30)
    queue.put("events", messages("b", size=50))
    stats = queue.stats()["events"]
    assert (stats.depth, stats.bytes, stats.dropped, stats.buried) == (2, 150, 0, 0)
    assert stats.oldest_age == pytest.approx(30)
    assert queue.stats()["results"].oldest_age == 0
    assert set(queue.stats()) == {"results", "notices", "events", "metrics"}


# -- state ----------------------------------------------------------------------------------------


def read(queue: Queue, prefix: str) -> dict[str, object]:
    return {key: value(entry) for key, entry in queue.get_state(prefix).items()}


def test_state_is_read_by_prefix(queue: Queue) -> None:
    queue.set_state({"worker/metrics": {"pid": 1}, "worker/health": {"pid": 2}, "cluster": None, "work": 3})
    assert read(queue, "worker/") == {"worker/metrics": {"pid": 1}, "worker/health": {"pid": 2}}
    assert read(queue, "nothing") == {}


def test_the_last_value_stands_and_null_removes(queue: Queue) -> None:
    queue.set_state({"a": 1, "b": 1})
    queue.set_state({"a": 2})
    queue.set_state({"b": None})
    assert read(queue, "") == {"a": 2}


def test_an_entry_says_how_long_ago_it_was_set(queue: Queue, clock: FakeClock) -> None:
    queue.set_state({"a": 1})
    clock.advance(12)
    assert queue.get_state("a")["a"].age == pytest.approx(12)


def test_messages_and_state_are_put_together(queue: Queue) -> None:
    queue.put("results", messages("t1"), state={"task/t1": {"done": True}, "task/t0": None})
    assert read(queue, "task/") == {"task/t1": {"done": True}}
    assert queue.stats()["results"].depth == 1


def test_a_watch_shows_what_changed_since_a_version(queue: Queue) -> None:
    queue.set_state({"a": 1, "b": 1, "other": 1})
    everything, version = queue.watch_state("", 0, 0)
    assert {key: value(entry) for key, entry in everything.items()} == {"a": 1, "b": 1, "other": 1}
    assert queue.watch_state("", version, 0) == ({}, version)
    queue.set_state({"b": 2})
    changed, newer = queue.watch_state("", version, 0)
    assert {key: value(entry) for key, entry in changed.items()} == {"b": 2}
    assert newer > version


def test_a_watch_sees_a_removed_key_as_null(queue: Queue) -> None:
    queue.set_state({"a": 1})
    _, version = queue.watch_state("a", 0, 0)
    queue.set_state({"a": None})
    changed, _ = queue.watch_state("a", version, 0)
    assert {key: value(entry) for key, entry in changed.items()} == {"a": None}


# -- state in pages -------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "broker"])
def roomy(request: pytest.FixtureRequest, run_dir: Path) -> Iterator[Queue]:
    """The queue in both forms, with the room it has in the field for state, and for one worker's beat only."""
    limits = Limits(passing_bytes=MAX_RECORD // 2)
    if request.param == "memory":
        yield MemoryQueue(limits)
        return
    broker = RunningBroker(run_dir, limits)
    client = QueueClient(broker.path)
    yield client
    client.disconnect()
    broker.stop()


EXPENSIVE = "\x01"
"""One character, six bytes of JSON."""


def test_more_state_than_a_frame_holds_is_read_whole(roomy: Queue) -> None:
    text = EXPENSIVE * (MAX_RECORD // 6 - 1)
    for number in range(10):
        roomy.set_state({f"task/{number}": text, f"executed/{number}": number}, durable=True)
    assert 10 * MAX_RECORD > 2 * MAX_FRAME
    assert {key: value(entry) for key, entry in roomy.get_state("task/").items()} == {
        f"task/{number}": text for number in range(10)
    }
    assert len(roomy.get_state("")) == 20


def test_a_watcher_is_told_more_than_a_frame_holds_one_page_after_another(roomy: Queue) -> None:
    text = EXPENSIVE * (MAX_RECORD // 7)
    for number in (5, 2, 8, 1, 9, 3):
        roomy.set_state({f"task/{number}": text}, durable=True)
    seen, version = list[str](), 0
    while True:
        page, version = roomy.watch_state("task/", version, 0)
        if not page:
            break
        seen += page
    assert seen == [f"task/{number}" for number in (5, 2, 8, 1, 9, 3)]


@given(
    st.dictionaries(st.text(max_size=40), st.text(max_size=300), max_size=40),
    st.sampled_from(["", "a", EXPENSIVE]),
    st.integers(1, 4000),
)
def test_whatever_was_taken_is_read_page_by_page(values: dict[str, str], prefix: str, page: int) -> None:
    queue = MemoryQueue()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("shared.queue.retained.PAGE_BYTES", page)
        queue.set_state(values)
        expected = {key: text for key, text in values.items() if key.startswith(prefix)}
        assert read(queue, prefix) == expected
        seen, version = dict[str, object](), 0
        while changed := queue.watch_state(prefix, version, 0)[0]:
            version = max(entry.version for entry in changed.values())
            seen.update((key, value(entry)) for key, entry in changed.items())
        assert seen == expected
    queue.store.close()


@pytest.mark.parametrize("durable", [True, False])
def test_a_record_that_could_not_be_read_again_is_refused_for_good(roomy: Queue, durable: bool) -> None:
    """By its bytes as JSON; and nothing of the request is done."""
    with pytest.raises(PermanentError, match=f"the record 'b' has {MAX_RECORD + 1} bytes; at most {MAX_RECORD}"):
        roomy.set_state({"a": 1, "b": "x" * (MAX_RECORD - 1)}, durable)
    with pytest.raises(PermanentError, match="bytes; at most"):
        roomy.put("results", messages("r"), state={"b": EXPENSIVE * (MAX_RECORD // 6 + 1)})
    with pytest.raises(PermanentError, match=f"bytes as JSON; at most {MAX_KEY}"):
        roomy.set_state({"a": 1, EXPENSIVE * (MAX_KEY // 6 + 1): 1}, durable)
    with pytest.raises(PermanentError, match=f"bytes as JSON; at most {MAX_KEY}"):
        roomy.put("results", [(EXPENSIVE * (MAX_KEY // 6 + 1), b"1")])
    assert roomy.get_state("") == {}
    assert roomy.stats()["results"].depth == 0


def filled_with(write: Callable[[int], None]) -> int:
    """How many records could be written before there was no room."""
    for number in range(100):
        try:
            write(number)
        except QueueRefused:
            return number
    raise AssertionError("there was no end to it")


def test_claims_leave_room_for_the_results_that_close_them(roomy: Queue) -> None:
    """And what makes the whole no larger is taken, however full it is."""
    text = "x" * (MAX_RECORD - 2)
    claimed = filled_with(lambda number: roomy.set_state({f"task/{number}": text}, durable=True))
    assert 20 < claimed < 32
    roomy.set_state({"task/0": "shorter"}, durable=True)
    finished = filled_with(lambda number: roomy.put("results", messages(f"r{number}"), {f"executed/{number}": text}))
    assert 1 < finished < 8
    assert roomy.stats()["results"].depth == finished
    roomy.set_state({"worker/health": "a beat is not crowded out by journals"})


def test_one_worker_cannot_fill_the_room_for_journals(roomy: Queue) -> None:
    with pytest.raises(QueueRefused, match="the state holds"):
        roomy.set_state({"telemetry/metrics": "x" * (MAX_RECORD // 2)})
    roomy.set_state({"task/1": "x" * (MAX_RECORD // 2)}, durable=True)


def test_no_more_dead_letters_are_kept_than_their_bytes_allow(run_dir: Path) -> None:
    broker = RunningBroker(run_dir)
    client = QueueClient(broker.path)
    for number in range(6):
        client.put("results", messages(f"r{number}", size=MAX_MESSAGE))
        (message,) = client.lease(["results"], 1, 60)
        client.bury([message.id], "why " * MAX_REASON)
    client.disconnect()
    broker.stop()
    with closing(sqlite3.connect(broker.spool)) as db:
        kept = db.execute("SELECT key, LENGTH(reason) FROM buried ORDER BY id").fetchall()
    assert kept == [(f"r{number}", MAX_REASON) for number in (3, 4, 5)]
    assert 3 * MAX_MESSAGE < BURIED_BYTES


# -- waiting: with a clock that runs --------------------------------------------------------------


@pytest.fixture(params=["memory", "broker"])
def live(request: pytest.FixtureRequest, run_dir: Path) -> Iterator[Queue]:
    """The queue in both forms, with the machine's clock."""
    if request.param == "memory":
        yield MemoryQueue()
        return
    broker = RunningBroker(run_dir)
    client = QueueClient(broker.path)
    yield client
    client.disconnect()
    broker.stop()


def leave(queue: Queue) -> None:
    """A thread that ends says goodbye to the broker."""
    if isinstance(queue, QueueClient):
        queue.disconnect()


def meanwhile(queue: Queue, action: Callable[[], None]) -> threading.Thread:
    """Do it on another thread, after whoever calls this has begun to wait (or not yet: both must work)."""

    def soon() -> None:
        threading.Event().wait(0.05)
        action()
        leave(queue)

    thread = threading.Thread(target=soon, daemon=True)
    thread.start()
    return thread


def test_a_lease_may_wait_for_a_message(live: Queue) -> None:
    thread = meanwhile(live, lambda: live.put("events", messages("a")))
    assert keys(live.lease(["results", "events"], 10, 60, wait=10)) == ["a"]
    thread.join()


def test_a_lease_that_waits_in_vain_returns_nothing(live: Queue) -> None:
    assert live.lease(["events"], 10, 60, wait=0.05) == []


def test_a_watch_may_wait_for_a_change(live: Queue) -> None:
    live.set_state({"other": 1})
    _, version = live.watch_state("a", 0, 0)
    thread = meanwhile(live, lambda: live.set_state({"other": 2, "a": 1}))
    changed, newer = live.watch_state("a", version, wait=10)
    assert {key: value(entry) for key, entry in changed.items()} == {"a": 1}
    assert newer > version
    thread.join()


def test_a_watcher_that_is_ahead_of_the_queue_is_told_everything(live: Queue) -> None:
    """The clock was set back and the broker restarted: versions begin below those the watcher has seen."""
    live.set_state({"a": 1})
    changed, version = live.watch_state("a", 2**62, wait=0)
    assert list(changed) == ["a"]
    assert version < 2**62


def test_a_watch_that_waits_in_vain_says_from_where_to_go_on(live: Queue) -> None:
    live.set_state({"other": 1})
    changed, version = live.watch_state("a", 0, wait=0.05)
    assert changed == {}
    live.set_state({"a": 1})
    assert list(live.watch_state("a", version, 0)[0]) == ["a"]


def test_a_waiting_lease_gets_a_message_whose_delay_ends_meanwhile(live: Queue) -> None:
    live.put("events", messages("a"))
    (message,) = live.lease(["events"], 1, 60)
    live.release([message.id], delay=0.05)
    assert keys(live.lease(["events"], 1, 60, wait=0.3)) == ["a"]


def test_of_two_that_wait_one_gets_the_message(live: Queue) -> None:
    got: list[list[str]] = []

    def wait() -> None:
        leased = live.lease(["events"], 1, 60, wait=0.2)
        got.append(keys(leased))
        live.ack([message.id for message in leased])
        leave(live)

    threads = [threading.Thread(target=wait) for _ in range(2)]
    for thread in threads:
        thread.start()
    live.put("events", messages("a"))
    for thread in threads:
        thread.join()
    assert sorted(got) == [[], ["a"]]


def test_many_threads_lose_and_repeat_nothing(live: Queue) -> None:
    put = [f"{thread}-{number}" for thread in range(4) for number in range(25)]
    got: list[str] = []

    def produce(thread: int) -> None:
        for number in range(25):
            live.put("events", messages(f"{thread}-{number}"))
        leave(live)

    def consume() -> None:
        while len(got) < len(put):
            leased = live.lease(["events"], 7, 60, wait=0.05)
            got.extend(keys(leased))
            live.ack([message.id for message in leased])
        leave(live)

    threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=consume) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(got) == sorted(put)
    eventually(lambda: live.stats()["events"].depth == 0)
