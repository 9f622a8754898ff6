"""The simulator beside a real API server: the same requests, and the same answers wanted."""

from __future__ import annotations

from pathlib import Path

from tests.integration.conformance.deletes import DELETES
from tests.integration.conformance.evictions import EVICTIONS
from tests.integration.conformance.reads import READS
from tests.integration.conformance.writes import WRITES

CASES = (*READS, *WRITES, *DELETES, *EVICTIONS)
RECORDED = Path(__file__).parent / "recorded.json"
"""What a real one answered, written by ``python -m tests.integration.conformance KUBECONFIG``."""
