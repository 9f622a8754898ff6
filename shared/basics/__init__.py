"""The ground everything stands on: errors, clocks, logs, metrics, bounded transfers."""
