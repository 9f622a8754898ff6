"""The image and the bundle, for real: ``make container-test``."""

import os

# The reaper is an image of its own, which not every machine can pull. Every container here is ended by its block.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
