#!/usr/bin/env bash
# Known vulnerabilities in what the image installs (constraints.txt). Exit status:
#   0  all of it was looked at, and nothing is known against it
#   1  something is known, or pip-audit could not be run
#   3  nothing was audited, or not all of it: the vulnerability service cannot be asked from this machine. A build need
#      not fail for that (.ci/run does not), but must not look as if it had been audited. No list to fall back on: the one
#      that package indexes hold (safety-db) ends in July 2021, and would find nothing where there is something.
# $1, for trying this script: a report of pip-audit to judge instead of making one.
set -euo pipefail
cd "$(dirname "$0")/.."

TOOL=.venv/audit
VERSION=2.10.1
report=${1:-}
if [ -z "$report" ]; then
  if [ ! -x "$TOOL/bin/pip-audit" ]; then
    "${PYTHON:-python3}" -m venv "$TOOL"
    "$TOOL/bin/python" -m pip install --quiet --disable-pip-version-check "pip-audit==$VERSION"
  fi
  report=$(mktemp)
  trap 'rm -f "$report" "$report.log"' EXIT
  "$TOOL/bin/pip-audit" --requirement constraints.txt --no-deps --disable-pip --progress-spinner off --timeout 15 \
    --format json >"$report" 2>"$report.log" || true
fi

"${PYTHON:-python3}" - "$report" <<'PYTHON'
import json
import sys
from pathlib import Path

report = Path(sys.argv[1])
log = report.with_name(report.name + ".log")
try:
    dependencies = json.loads(report.read_text())["dependencies"]
except ValueError:
    # No report: the service is away, or pip-audit was called wrongly, which must not look the same.
    said = log.read_text() if log.exists() else ""
    if not any(word in said for word in ("ConnectionError", "Timeout", "ServiceError", "HTTPError", "connect")):
        sys.exit(f"audit: pip-audit made no report:\n{said}")
    dependencies = []

# A mirror without the vulnerability service answers 404 for each: "not found on PyPI", and yet "none found".
skipped = [each["name"] for each in dependencies if "skip_reason" in each]
looked_at = [each for each in dependencies if "skip_reason" not in each]
found = [(each, vulnerability) for each in looked_at for vulnerability in each["vulns"]]
for each, vulnerability in found:
    fixed = ", ".join(vulnerability.get("fix_versions") or []) or "nothing yet"
    print(f"audit: {each['name']} {each['version']}: {vulnerability['id']}, fixed by {fixed}")
if not looked_at:
    bar = "!" * 100
    print(f"{bar}\n!!! NOTHING WAS AUDITED: the vulnerability service cannot be asked from this machine.\n{bar}")
elif skipped:
    print(f"!!! audit: not known to the vulnerability service: {', '.join(skipped)}")
print(f"audit: {len(looked_at)} packages looked at, {len(found)} known vulnerabilities")
sys.exit(1 if found else 3 if skipped or not looked_at else 0)
PYTHON
