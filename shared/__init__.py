"""What the five workers have in common: contract, queue, adapters to Central and Kubernetes, life cycle."""

__version__ = "0.1.0"

USER_AGENT = f"cloudoptim-agent/{__version__}"
"""How the agent names itself to every server it calls."""
