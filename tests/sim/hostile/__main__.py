"""``make hostile``: the long form of the attack, with its figures and everything that was trespassed."""

from __future__ import annotations

import argparse

from bench.report import Figure, report
from tests.sim.hostile.attack import attack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.hostile", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    outcome = attack(arguments.tasks, arguments.seconds, arguments.seed)
    figures = [
        Figure("tasks said", outcome.said, ""),
        *(Figure(f"answered {status}", count, "") for status, count in sorted(outcome.answers.items())),
        *(Figure(f"the agent's writes: {what}", count, "") for what, count in sorted(outcome.writes.items())),
        Figure("changes that the limits do not allow", len(outcome.trespasses), "", 0),
        Figure("a good task answered after the flood", outcome.good_seconds, "s", 5),
        Figure("memory of all processes, peak", outcome.peak_mib, "MiB", 256),
        Figure("log", outcome.log_mib, "MiB"),
        Figure("processes restarted", int(outcome.restarted), "", 0),
    ]
    report("hostile", figures, "the agent as it ships, simulated cluster with admission-limits")
    for trespass in outcome.trespasses[:50]:
        print(trespass)
    clean = not outcome.trespasses and outcome.good_status == "success" and not outcome.restarted
    raise SystemExit(0 if clean else 1)


if __name__ == "__main__":
    main()
