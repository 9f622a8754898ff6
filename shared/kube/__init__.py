"""The Kubernetes API: connection, typed reads, watches and the few writes the agent makes."""
