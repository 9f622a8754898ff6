"""Central's REST API and task stream, translated into our errors."""
