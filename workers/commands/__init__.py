"""What a person runs: cloudoptim-agent and its commands."""
