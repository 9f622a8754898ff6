"""Generated payloads over the whole path, from Central's frame or poll to the result that arrives there.

python -m bench.payloads --count 100000

The agent is the one that ships, against a simulated cluster. Each payload has to be answered once, or counted as
dropped for the reason it has to be: without an id, another cluster's, or a frame that is no task. The log tells of each
that is dropped, with a line of its own or in the number of those that share one; nothing may crash.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from bench.report import Figure, report
from shared.process.programs import PROGRAMS
from shared.schemas.parameters import PARAMETERS
from tests.container.bundle import rbac
from tests.sim.agent import Agent
from tests.sim.central.server import Central
from tests.sim.kube.cluster import Cluster

BATCH = 250
"""Payloads of one poll, or of one round of pushes."""

OUTSTANDING = 750
"""Payloads without an answer that may be under way: below the agent's own bound, beyond which it claims no more."""

FRAME = 500_000
"""Bytes of one frame or poll at most: the agent takes a megabyte on the stream."""

_ENV = {
    "LOG_LEVEL": "DEBUG",  # What comes again is told there, so that the lines can be added up.
    "TASK_POLL_INTERVAL_SECONDS": "0.1",
    "METRICS_POLL_INTERVAL_SECONDS": "60",
    "HEARTBEAT_INTERVAL_SECONDS": "5",
}

_CRASHES = re.compile(r"unexpected|Traceback|executor failed|exited|FATAL")
"""What a log line says when something broke that no payload may break."""

_IGNORED = "ignored a frame of the stream: "
"""How a line begins that stands for one frame that is no task. No metric counts them."""

_DROPPED = "dropped: "
"""How one begins that stands for one payload nobody can be answered about."""

_JUNK = re.compile(r"dropped (\d+) items of the ")
"""What one says of all that is no task in one poll or frame."""

_LEFT_OUT = re.compile(r"(\d+) more lines like this were left out: (.*)", re.DOTALL)
"""What one says of others that the throttle of the log kept back."""

_COUNTED = re.compile(r'^cloudoptim_tasks_dropped_total\{reason="(\w+)"\} (\S+)$', re.MULTILINE)

# -- what is generated ----------------------------------------------------------------------------

_TEXT = st.text(max_size=12) | st.text(st.characters(), max_size=6)
"""The second kind has halves of surrogate pairs, too."""

_NUMBERS = st.integers() | st.floats() | st.sampled_from([0, -1, 10**30, 2**63, float("nan"), float("inf"), -0.0])


def _deep(levels: int) -> Any:
    nested: Any = "x"
    for level in range(levels):
        nested = [nested] if level % 2 else {"a": nested}
    return nested


_ODD = st.sampled_from(["x" * 5000, "x" * 100_000, "\x00", "\ud800", "‮é", "a/b?c#d%e", "..", "'; DROP"]) | st.integers(
    1, 400
).map(_deep)

JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT | _ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)

_MOMENTS = st.sampled_from(
    ["2037-01-01T00:00:00Z", "2037-01-01", "2037-01-01T00:00:00.123456+02:00", 2e9, "2020-01-01T00:00:00Z"]
    + ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "9999-12-31T23:59:59Z", "tomorrow", "", -1, 1e300]
)

_NODES = st.sampled_from(["node-1", "node-2", "node-3", "nowhere", "Node_1", "a" * 254, "-"])
_NAMES = st.sampled_from(["shop", "web-0", "nobody", "Not a name", ""])
_LABELS = st.dictionaries(
    st.sampled_from(["team", "example.com/a", "kubernetes.io/hostname", "bad key", "x" * 64]) | _TEXT,
    st.none() | st.sampled_from(["a", "", "y" * 64, "bad value"]) | _TEXT,
    max_size=3,
)

_GOOD: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "drain_node": {"node_name": st.just("nowhere"), "dry_run": st.booleans(), "force": st.booleans()},
    "cordon_node": {"node_name": _NODES},
    "uncordon_node": {"node_name": _NODES},
    "label_node": {"node_name": _NODES, "labels": _LABELS, "force": st.booleans()},
    "label_pod": {"namespace": _NAMES, "pod_name": _NAMES, "labels": _LABELS},
    "delete_pod": {"namespace": _NAMES, "pod_name": _NAMES, "grace_period": st.sampled_from([None, 0, 1, -1])},
    "reschedule_pod": {"namespace": _NAMES, "pod_name": _NAMES},
}
"""Parameters that are right, or nearly so, of each type; no drain does work, of which other tests have enough."""

_PARAMETERS = sorted({name for fields in _GOOD.values() for name in fields} | {"skip_namespaces", "node_uid"})


@st.composite
def _nearly_right(draw: st.DrawFn) -> dict[str, Any]:
    """A task, with up to three things wrong with it."""
    task_type = draw(st.sampled_from([*PARAMETERS]))
    task: dict[str, Any] = {
        "task_id": draw(st.sampled_from(["t", "a/b?c", "é⏲", "..", "a b", "", None]) | st.just("t")),
        "cluster_id": "demo",
        "task_type": task_type,
        "parameters": {name: draw(strategy) for name, strategy in _GOOD[task_type].items()},
        "priority": draw(st.integers(1, 10)),
        "deadline": "2100-01-01T00:00:00Z",
        "created_at": draw(_MOMENTS),
    }
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        where = task if draw(st.booleans()) else task.get("parameters")
        if not isinstance(where, dict):
            continue
        key = draw(st.sampled_from([*where, *_PARAMETERS]) if where else _TEXT)
        if draw(st.booleans()):
            where.pop(key, None)
        elif key in ("deadline", "created_at"):
            where[key] = draw(_MOMENTS | JSON)
        else:
            where[key] = draw(JSON)
    return task


_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "task_id": st.just("t") | JSON,
        "cluster_id": st.sampled_from(["demo", "demo", "other"]) | JSON,
        "task_type": st.sampled_from([*PARAMETERS, "x", ""]) | JSON,
        "parameters": st.dictionaries(st.sampled_from(_PARAMETERS), JSON) | JSON,
        "priority": st.integers(0, 11) | JSON,
        "deadline": _MOMENTS | JSON,
        "created_at": _MOMENTS | JSON,
    },
)

PAYLOADS = st.sampled_from([_nearly_right()] * 6 + [_FIELDS] * 3 + [JSON]).flatmap(lambda kind: kind)


def generated(count: int, number: int) -> list[Any]:
    """So many payloads; the same for the same ``number``."""
    payloads: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(PAYLOADS)
    def collect(payload: Any) -> None:
        payloads.append(json.loads(json.dumps(payload)))

    collect()
    return payloads[:count]


# -- what has to become of it ---------------------------------------------------------------------


def why_dropped(payload: Any) -> str | None:
    """``no_id`` or ``other_cluster``; None when it has to be answered.

    By the words of the specification and none of the agent's code. One of dots alone gets an id that can be answered,
    unless it is another cluster's.
    """
    if not isinstance(payload, dict):
        return "no_id"
    task_id, cluster_id = payload.get("task_id"), payload.get("cluster_id")
    if not isinstance(task_id, str) or not 0 < len(task_id) <= 256 or not task_id.isprintable():
        return "no_id"
    if not isinstance(cluster_id, str) or cluster_id == "demo":
        return None
    return "no_id" if task_id in (".", "..") else "other_cluster"


def _is_a_push(payload: Any) -> bool:
    """Whether a frame that is this payload says anything about a task."""
    return isinstance(payload, dict) and ("task_id" in payload or "task_type" in payload)


@dataclass
class Counts:
    """What went in, what became of it."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    """By the agent's metric, for each reason; ``ignored``, which has none, by the log."""
    to_drop: Counter[str] = field(default_factory=Counter)
    told: int = 0
    """Those of them the log accounts for, by a line or by a number in one."""
    lines_kept_back: int = 0
    """By the throttle, of those that say how much junk one poll or frame had: each stands for one or more."""
    unanswered: list[Any] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wordless: list[str] = field(default_factory=list)
    """Answered other than ``success`` without saying why."""
    crashes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.problems()

    @property
    def untold(self) -> int:
        """Dropped payloads the log does not account for; below zero when it tells of more than there were.

        Numbers in lines that were kept back are not known, so of those only what is too much can be seen.
        """
        missing = self.dropped.total() - self.told
        return min(missing, 0) if self.lines_kept_back else missing

    def problems(self, most: int = 10) -> list[str]:
        """What is wrong, a few of each kind."""
        unanswered = [f"unanswered: {json.dumps(payload)}" for payload in self.unanswered[:most]]
        others = [f"twice: {task_id}" for task_id in self.twice[:most]]
        others += [f"without a reason: {task_id}" for task_id in self.wordless[:most]]
        if self.dropped != self.to_drop:
            others.append(f"to be dropped were {dict(self.to_drop)}, counted as dropped are {dict(self.dropped)}")
        if self.untold:
            others.append(f"{self.dropped.total()} payloads are counted as dropped, the log tells of {self.told}")
        return [*self.crashes[:most], *unanswered, *others]

    def figures(self) -> list[Figure]:
        sent = sum(self.sent.values())
        refused = self.answered["refused"]
        return [
            Figure("payloads by poll", self.sent["poll"], ""),
            Figure("payloads by stream", self.sent["stream"], ""),
            Figure("answered failed or timeout before anything was done", refused, ""),
            Figure("executed: success", self.answered["success"], ""),
            Figure("executed: failed", self.answered["failed"], ""),
            Figure("executed: timeout", self.answered["timeout"], ""),
            Figure("dropped and counted: no usable id", self.dropped["no_id"], ""),
            Figure("dropped and counted: another cluster's", self.dropped["other_cluster"], ""),
            Figure("frames that were no task, by the log", self.dropped["ignored"], ""),
            Figure("unaccounted for", sent - refused - self.executed - self.dropped.total(), "", 0),
            Figure("dropped and not told in the log", self.untold, "", 0),
            Figure("answered twice", len(self.twice), "", 0),
            Figure("answered without a reason", len(self.wordless), "", 0),
            Figure("crashes and unexpected errors", len(self.crashes), "", 0),
            Figure("payloads a second", sent / self.seconds, "/s"),
        ]

    @property
    def executed(self) -> int:
        return sum(self.answered[status] for status in ("success", "failed", "timeout"))


class Run:
    """One agent, fed until there are no more payloads."""

    def __init__(self, agent: Agent, central: Central, chance: random.Random) -> None:
        self._agent = agent
        self._central = central
        self._chance = chance
        self._number = 0
        self._open: dict[str, Any] = {}
        self._read = 0
        self.counts = Counts()

    def feed(self, payloads: Iterable[Any]) -> None:
        for batch in _batches(payloads):
            if self._chance.random() < 0.5:
                self._offer([self._named(payload) for payload in batch])
            else:
                self._push([self._named(payload) for payload in batch])
            self._await_answers(OUTSTANDING)
        self._await_answers(0)

    def _named(self, payload: Any) -> Any:
        """With an id of its own, if it has one that can be answered; and noted as something to answer, or to drop."""
        if (reason := why_dropped(payload)) is not None:
            self.counts.to_drop[reason] += 1
            return payload
        self._number += 1
        task_id = f"{payload['task_id'][:200]}-{self._number}"
        named = {**payload, "task_id": task_id}
        self._open[task_id] = named
        return named

    def _offer(self, batch: list[Any]) -> None:
        """By one poll, and by that one only."""
        tasks: Any = {"tasks": batch} if self._chance.random() < 0.3 else batch
        fault = self._central.fault("tasks", status=200, body=json.dumps(tasks).encode(), times=1)
        self._central.ledger.wait(lambda: fault.times == 0)
        self.counts.sent["poll"] += len(batch)

    def _push(self, batch: list[Any]) -> None:
        """As frames of every form that stands for a task; whatever is none goes as it is."""
        self._agent.wait(lambda: self._central.streams)
        self.counts.sent["stream"] += len(batch)
        while batch:
            form = self._chance.choice(["bare", "list", "envelope"])
            size = self._chance.randint(1, 20) if form == "list" else 1
            while size > 1 and len(json.dumps(batch[:size])) > FRAME:
                size //= 2
            some, batch = batch[:size], batch[size:]
            if form == "list":
                self._central.push(json.dumps(some))
            elif form == "envelope" or isinstance(some[0], list) or not _is_a_push(some[0]):
                self._central.push(json.dumps({"type": "task", "task": some[0]}))
                if not isinstance(some[0], dict):  # No task in it: the frame as a whole is none of the agent's.
                    self.counts.to_drop["no_id"] -= 1
                    self.counts.to_drop["ignored"] += 1
            else:
                self._central.push(json.dumps({**some[0], "type": None}))

    def _await_answers(self, left: int, patience: float = 60.0) -> None:
        """Until no more than ``left`` payloads are unanswered; what still is after so long without news stays so."""
        until = time.monotonic() + patience
        while True:
            before = len(self._open)
            self._take_answers()
            if len(self._open) <= left:
                return
            if len(self._open) < before:
                until = time.monotonic() + patience
            if time.monotonic() > until:
                self.counts.unanswered += self._open.values()
                self._open.clear()
                return
            time.sleep(0.02)

    def _take_answers(self) -> None:
        arrivals = self._central.ledger.arrivals
        new, self._read = arrivals[self._read :], len(arrivals)
        for arrival in new:
            if arrival.call != "result":
                continue
            result = arrival.body
            if self._open.pop(arrival.task_id, None) is None:
                self.counts.twice.append(arrival.task_id)
            elif result["duration_seconds"] == 0 and not result["logs"]:
                self.counts.answered["refused"] += 1
            else:
                self.counts.answered[result["status"]] += 1
            if result["status"] != "success" and not result["error"]:
                self.counts.wordless.append(arrival.task_id)
            self.counts.reasons[_kind(result)] += 1

    def look_at_the_log(self, pids: dict[str, int]) -> None:
        """What was dropped, and whether anything broke."""
        counts = self.counts
        for _ in range(60):  # The last lines and samples may be under way.
            self._add_up_drops()
            if counts.dropped == counts.to_drop and not counts.untold:
                break
            time.sleep(0.5)
        for text in self._agent.log_path.read_text(errors="replace").splitlines():
            line = _line(text)
            if line is None:
                counts.crashes.append(f"not a line of the log: {text[:300]}")
            elif _is_bad(line):
                counts.crashes.append(text[:1000])
        counts.crashes += [f"Central refused: {refusal}" for refusal in self._central.refused]
        if self._agent.pids() != pids:
            counts.crashes.append(f"processes were {pids}, are {self._agent.pids()}")

    def _add_up_drops(self) -> None:
        counts = self.counts
        counts.told, counts.lines_kept_back, ignored = 0, 0, 0
        for line in self._agent.log("task-runner"):
            kept_back = _LEFT_OUT.match(line["message"])
            times, message = (int(kept_back[1]), kept_back[2]) if kept_back else (1, line["message"])
            if message.startswith(_IGNORED):
                ignored += times
            elif junk := _JUNK.match(message):
                counts.told += times if kept_back else int(junk[1])
                counts.lines_kept_back += times if kept_back else 0
            elif message.startswith(_DROPPED):
                counts.told += times
        counts.told += ignored
        counted = _COUNTED.findall(self._agent.get("/metrics")[1])
        counts.dropped = Counter({reason: int(float(value)) for reason, value in counted}) + Counter(ignored=ignored)


def _is_bad(line: dict[str, Any]) -> bool:
    """Whether it says that something broke. supervisord calls it CRITICAL to be run as root."""
    loud = line["component"] != "supervisord" and line["level"] in ("ERROR", "CRITICAL")
    return loud or _CRASHES.search(line["message"]) is not None


def _line(text: str) -> dict[str, Any] | None:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return None


def _kind(result: dict[str, Any]) -> str:
    """The reason in short, without what is particular to one payload."""
    words = re.split(r"[:;(']", result["error"] or result["status"])[0]
    return f"{result['status']}: {re.sub(r'[0-9]+', 'N', words).strip()[:60]}"


def _batches(payloads: Iterable[Any]) -> Iterator[list[Any]]:
    """By number and by size: a poll's answer and a frame have their bounds."""
    batch: list[Any] = []
    size = 0
    for payload in payloads:
        batch.append(payload)
        size += len(json.dumps(payload))
        if len(batch) == BATCH or size > FRAME:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def run(count: int, number: int = 1) -> Counts:
    """Feed ``count`` payloads to an agent."""
    payloads = generated(count, number)
    with (
        tempfile.TemporaryDirectory() as scratch,
        Cluster(nodes=3, rbac=rbac("pod-labels"), termination_seconds=0.05) as cluster,
        Central() as central,
    ):
        cluster.add_deployment("shop", "web", 3)
        with Agent(central.url, cluster.write_kubeconfig(Path(scratch) / "kubeconfig"), _ENV) as agent:
            agent.wait_ready()
            agent.wait(lambda: set(agent.pids()) == set(PROGRAMS))
            pids = agent.pids()
            feeding = Run(agent, central, random.Random(number))
            started = time.monotonic()
            feeding.feed(payloads)
            feeding.counts.seconds = time.monotonic() - started
            feeding.look_at_the_log(pids)
            return feeding.counts


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.payloads", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    counts = run(arguments.count, arguments.seed)
    report("payloads", counts.figures(), "the agent as it ships, simulated cluster")
    print("\nreasons")
    for kind, times in counts.reasons.most_common(30):
        print(f"{times:8} {kind}")
    for problem in counts.problems():
        print(problem[:400])
    raise SystemExit(0 if counts.clean else 1)


if __name__ == "__main__":
    main()
