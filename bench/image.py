"""What the image sets for its Python and its malloc, so that a benchmark outside measures what ships."""

from __future__ import annotations

import re

from tests.sim.agent import ROOT


def environment() -> dict[str, str]:
    """The PYTHON and MALLOC variables of the Dockerfile."""
    return dict(re.findall(r"^(?:ENV)? +((?:PYTHON|MALLOC)\w*)=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
