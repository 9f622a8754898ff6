"""Keys of the queue's retained state by which the workers tell each other things."""

REGISTRATION = "registration"
"""heartbeat → task-runner: registering was tried, so tasks may be claimed."""

CLUSTER = "cluster"
"""metrics → heartbeat: version, provider, region and number of nodes, for the registration."""

PRICES_WANTED = "prices-wanted"
"""metrics → heartbeat: provider/region/type of the cluster's machines, to ask prices for."""

PRICES = "prices/"
"""heartbeat → metrics: what Central and the clouds answered (durable)."""

DRAIN_ENDED = "drain-ended"
"""task-runner → metrics: a drain ended, so a sample is due."""

HEALTH = "health"
"""health → heartbeat, whoever looks: how the workers are."""

AT_WORK = "at-work"
"""task-runner → whoever looks: tasks in progress, the last results, the limits in force."""

WORKER = "worker/"
"""every worker → health: pid, uptime, late loops, connections."""

ENDED = "ended/"
"""every worker → health: what a process had counted when it ended, until health has taken it in."""

TELEMETRY = "telemetry/"
"""every worker → health: what it counted."""

REFUSED = "refused/"
"""task-runner, heartbeat → heartbeat: Central does not accept the key."""

TASK = "task/"
"""task-runner → itself: the journal of claimed and finished tasks (durable)."""

EXECUTED = "executed/"
"""task-runner → itself: digests of the ids of tasks that were executed (durable)."""

TALLY = "tally/"
"""task-runner → itself: drains and evictions of the last hour, where the owner bounds them (durable)."""

CHECKPOINT = "checkpoint/"
"""event-watcher → itself: how far it came (durable)."""
