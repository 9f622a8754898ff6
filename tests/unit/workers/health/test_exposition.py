"""One page from five processes: sums, restarts, gauges of the silent."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from workers.health.exposition import Families, Totals, render

RETRIES = "cloudoptim_loop_failures"
SECONDS = "cloudoptim_task_duration_seconds"
READY = "cloudoptim_agent_ready"


def counter(value: float, loop: str = "poll") -> Families:
    return {RETRIES: [(f"{RETRIES}_total", {"loop": loop}, value)]}


def gauge(value: float) -> Families:
    return {READY: [(READY, {}, value)]}


def histogram(below: float, all_of_them: float, total: float) -> Families:
    labels = {"task_type": "drain_node"}
    return {
        SECONDS: [
            (f"{SECONDS}_bucket", {**labels, "le": "+Inf"}, all_of_them),
            (f"{SECONDS}_bucket", {**labels, "le": "0.5"}, below),
            (f"{SECONDS}_count", labels, all_of_them),
            (f"{SECONDS}_sum", labels, total),
        ]
    }


def page(totals: Totals) -> dict[str, float]:
    """Every sample on the rendered page, by its name and labels."""
    families = text_string_to_metric_families(render(totals).decode())
    return {
        sample.name + (str(dict(sorted(sample.labels.items()))) if sample.labels else ""): sample.value
        for family in families
        for sample in family.samples
    }


POLL = f"{RETRIES}_total{{'loop': 'poll'}}"


def test_what_several_workers_count_is_added() -> None:
    totals = Totals()
    totals.update("metrics", 10, counter(3))
    totals.update("heartbeat", 11, counter(4))
    totals.update("heartbeat", 11, counter(5))
    assert page(totals) == {POLL: 8}


def test_what_a_worker_counted_before_its_restart_stays_counted() -> None:
    totals = Totals()
    assert not totals.update("metrics", 10, counter(3))
    assert not totals.update("metrics", 10, counter(7))
    assert totals.update("metrics", 20, counter(0)), "another process"
    assert page(totals) == {POLL: 7}
    totals.update("metrics", 20, counter(2))
    assert page(totals) == {POLL: 9}
    assert totals.update("metrics", 30, {})
    assert page(totals) == {POLL: 9}


def test_a_last_word_counts_for_all_the_process_counted() -> None:
    """Its successor may have been heard before it, or after it, or it alone."""
    before, after, alone = Totals(), Totals(), Totals()
    before.update("metrics", 10, counter(3))
    before.end("metrics", 10, counter(7))
    assert page(before) == {POLL: 7}
    assert before.update("metrics", 20, counter(2)), "another process"
    after.update("metrics", 10, counter(3))
    assert after.update("metrics", 20, counter(2))
    assert page(after) == {POLL: 5}
    after.end("metrics", 10, counter(7))
    alone.end("metrics", 10, counter(7))
    alone.update("metrics", 20, counter(2))
    assert page(before) == page(after) == page(alone) == {POLL: 9}


def test_nothing_is_counted_after_a_last_word() -> None:
    totals = Totals()
    totals.end("metrics", 10, counter(7))
    assert not totals.update("metrics", 10, counter(7)), "the publisher was in the middle of it"
    assert page(totals) == {POLL: 7}


def test_what_it_measured_does_not() -> None:
    totals = Totals()
    totals.update("health", 10, gauge(1))
    totals.update("health", 20, gauge(0))
    assert page(totals) == {READY: 0}
    totals.update("health", 30, {})
    assert page(totals) == {}


def test_a_silent_worker_measures_nothing_but_its_counts_stay() -> None:
    totals = Totals()
    totals.update("metrics", 10, {**counter(3), **gauge(1)})
    totals.forget_gauges("metrics")
    totals.forget_gauges("nobody")
    assert page(totals) == {POLL: 3}
    totals.update("metrics", 10, {**counter(4), **gauge(1)})
    assert page(totals) == {POLL: 4, READY: 1}


def test_histograms_are_added_bucket_by_bucket_and_survive_restarts() -> None:
    totals = Totals()
    totals.update("task-runner", 10, histogram(1, 3, 6.5))
    totals.update("task-runner", 20, histogram(2, 2, 0.5))
    labels = "'task_type': 'drain_node'"
    assert page(totals) == {
        f"{SECONDS}_bucket{{'le': '0.5', {labels}}}": 3,
        f"{SECONDS}_bucket{{'le': '+Inf', {labels}}}": 5,
        f"{SECONDS}_count{{{labels}}}": 5,
        f"{SECONDS}_sum{{{labels}}}": 7,
    }


def test_the_page_declares_every_family_before_its_samples_in_order() -> None:
    totals = Totals()
    totals.update("task-runner", 10, {**histogram(1, 3, 6.5), **counter(1), **gauge(1)})
    lines = render(totals).decode().splitlines()
    assert [line for line in lines if "task_duration" in line] == [
        f"# HELP {SECONDS} Start to result.",
        f"# TYPE {SECONDS} histogram",
        f'{SECONDS}_bucket{{le="0.5",task_type="drain_node"}} 1.0',
        f'{SECONDS}_bucket{{le="+Inf",task_type="drain_node"}} 3.0',
        f'{SECONDS}_count{{task_type="drain_node"}} 3.0',
        f'{SECONDS}_sum{{task_type="drain_node"}} 6.5',
    ]
    assert f"# TYPE {RETRIES}_total counter" in lines
    assert f"# TYPE {READY} gauge" in lines


def test_what_was_saved_goes_on_after_a_restart_of_the_health_worker() -> None:
    totals = Totals()
    totals.update("metrics", 10, counter(3))
    totals.update("metrics", 20, counter(1))
    again = Totals(json.loads(json.dumps(totals.saved())))
    assert page(again) == {POLL: 3}
    again.update("metrics", 20, counter(1))
    assert page(again) == {POLL: 4}
    assert again.saved() == totals.saved()


def test_what_is_a_total_already_is_shown_as_it_is() -> None:
    totals, dropped = Totals(), "cloudoptim_queue_dropped"
    totals.update("health", 10, {dropped: [(f"{dropped}_total", {"topic": "events"}, 5.0)]})
    for count in (7.0, 9.0):
        totals.set(f"{dropped}_total", "topic", {"events": count, "results": 0.0})
    assert page(totals) == {f"{dropped}_total{{'topic': 'events'}}": 9, f"{dropped}_total{{'topic': 'results'}}": 0}


def test_nothing_saved_is_nothing_counted() -> None:
    assert page(Totals(None)) == page(Totals({})) == {}


@given(
    st.lists(
        st.tuples(st.sampled_from(["metrics", "heartbeat"]), st.sampled_from(["count", "restart"]), st.integers(1, 9)),
        max_size=30,
    )
)
def test_counters_never_go_back_and_miss_nothing(steps: list[tuple[str, str, int]]) -> None:
    totals, pids, counts = Totals(), {"metrics": 1, "heartbeat": 2}, {"metrics": 0, "heartbeat": 0}
    expected, last = 0, 0.0
    for program, what, number in steps:
        if what == "restart":
            pids[program] += 2
            counts[program] = 0
        else:
            counts[program] += number
            expected += number
        totals.update(program, pids[program], counter(counts[program]))
        now = page(totals)[POLL]
        assert now >= last
        last = now
    assert last == expected
