"""The contract with Central: every body that crosses the wire, as pydantic models."""
