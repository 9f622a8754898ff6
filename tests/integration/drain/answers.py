"""Answers that say 404 or 403 and prove nothing, as proxies, webhooks and API servers give them."""

from __future__ import annotations

from typing import Any

from tests.sim.kube.resources import BUDGETS, Object
from tests.sim.kube.status import ApiError, no_such_path, not_found

UNPROVEN: dict[str, Object | str] = {
    "a proxy's page": "default backend - 404",
    "no such path": no_such_path().body(),
    "of another kind": not_found(BUDGETS, "guard").body(),
    "a webhook's denial": ApiError(404, "NotFound", 'admission webhook "guard.example.com" denied the request').body(),
    "no Status at all": {"message": "not found", "code": 404},
}
"""Bodies of a 404 that is not about the object that was asked for."""


def forbidden(verb: str, resource: str) -> Object:
    """RBAC's refusal, also of an API server that has just started and does not know the bindings yet."""
    user = "system:serviceaccount:kube-system:cloudoptim-agent"
    why = f'User "{user}" cannot {verb} resource "{resource}" in API group ""'
    message = f'{resource.partition("/")[0]} "x" is forbidden: {why} in the namespace "y"'
    return ApiError(403, "Forbidden", message, {"name": "x", "kind": resource.partition("/")[0]}).body()


def answered(body: Object | str, status: int = 404, times: int | None = 1, **match: Any) -> dict[str, Any]:
    """The fields of a fault that answers so."""
    return {"status": status, "body": body, "times": times, **match}
