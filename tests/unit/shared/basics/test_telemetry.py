"""Every metric is declared once, well named, and crosses processes as a snapshot."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from prometheus_client.metrics import MetricWrapperBase

from shared.basics import telemetry
from shared.queue.limits import MAX_RECORD
from tests.unit.conftest import counted

DECLARED = {name: value for name, value in vars(telemetry).items() if isinstance(value, MetricWrapperBase)}


def test_every_metric_is_declared_here_and_has_a_description() -> None:
    families = list(telemetry.REGISTRY.collect())
    assert len(families) == len(DECLARED) > 30
    for family in families:
        assert re.fullmatch(r"cloudoptim_[a-z0-9_]+", family.name)
        assert family.documentation.endswith(".")


def test_names_follow_prometheus_conventions() -> None:
    for family in telemetry.REGISTRY.collect():
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_info_info"))
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
        if family.type == "gauge":
            assert not family.name.endswith("_total")


def test_nothing_is_registered_with_the_librarys_default_registry() -> None:
    """It would open the process's own collectors, and with multiprocess mode files, before the fork."""
    code = (
        "from prometheus_client import REGISTRY; before = list(REGISTRY._names_to_collectors)\n"
        "import shared.basics.telemetry; print(list(REGISTRY._names_to_collectors) == before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"


def test_a_snapshot_holds_what_was_counted() -> None:
    telemetry.EVICTIONS.labels("418").inc(3)
    samples = telemetry.snapshot()["cloudoptim_evictions"]
    assert ("cloudoptim_evictions_total", {"code": "418"}, 3.0) in samples
    assert not any(name.endswith("_created") for name, _, _ in samples)


def test_a_snapshot_survives_the_queues_json() -> None:
    telemetry.TASK_SECONDS.labels("nap").observe(0.7)
    snapshot = json.loads(json.dumps(telemetry.snapshot()))
    samples = [sample for sample in snapshot["cloudoptim_task_duration_seconds"] if sample[1]["task_type"] == "nap"]
    buckets = {labels["le"]: value for name, labels, value in samples if "le" in labels}
    assert buckets["0.5"] < buckets["1.0"] == buckets["+Inf"]


def test_what_has_no_labels_yet_is_left_out() -> None:
    """A fresh process publishes nothing but its plain gauges and counters, which are zero."""
    code = "import json; from shared.basics.telemetry import snapshot; print(json.dumps(snapshot()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    fresh = json.loads(done.stdout)
    kinds = {family.name: family.type for family in telemetry.REGISTRY.collect()}
    assert {kinds[family] for family in fresh} == {"counter", "gauge"}
    assert {value for samples in fresh.values() for _, _, value in samples} == {0.0}


def test_a_sample_that_was_never_touched_counts_as_zero() -> None:
    assert counted("evictions_total", code="none") == 0


def test_the_world_cannot_make_up_more_series_than_fit_into_a_record() -> None:
    """900 status codes of six calls were 8 MB of telemetry, and a frame of the queue takes 4, a record 1."""
    code = """
import json
from shared.basics.telemetry import CENTRAL_SECONDS, EVICTIONS, KUBE_SECONDS, MOST_SERIES, RECONNECTS, snapshot
for number in range(3 * MOST_SERIES):
    for seconds in (CENTRAL_SECONDS, KUBE_SECONDS):
        seconds.labels("x" * 10_000, f"code-{number}").observe(0.1)
    RECONNECTS.labels(f"somewhere-{number}").inc()
    EVICTIONS.labels(f"{number}" * 100).inc()
RECONNECTS.labels("somewhere-0").inc()
text = json.dumps(snapshot())
counts = {labels["target"]: value for name, labels, value in snapshot()["cloudoptim_reconnects"]}
print(len(text), counts["somewhere-0"], counts["other"] == 2 * MOST_SERIES)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    size, first, others = done.stdout.split()
    assert int(size) < MAX_RECORD
    assert (first, others) == ("2.0", "True"), "what was there first is kept apart"


def test_a_status_is_a_label_of_its_own_only_if_it_is_usual() -> None:
    codes = [telemetry.code(status) for status in range(100, 1000)]
    assert {"200", "401", "404", "429", "503"} < set(codes)
    assert {"1xx", "2xx", "3xx", "4xx", "5xx", "9xx"} < set(codes)
    assert len(set(codes)) < 40
