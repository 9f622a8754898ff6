"""A Central that turned against the cluster: it has the agent's key, and says whatever the contract lets it say."""
