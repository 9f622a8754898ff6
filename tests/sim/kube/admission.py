"""ValidatingAdmissionPolicies: what their CEL says of a write, evaluated as the API server does.

The evaluator is Google's own (cel-cpp); the API server's is cel-go. tests/integration/test_admission_limits.py holds
both to the same answers. Of Kubernetes' CEL libraries there are the standard functions, strings and optionals; a
policy that uses another one has no value here, and refuses everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.sim.kube.access import Ask
from tests.sim.kube.resources import NAMESPACES, POLICIES, POLICY_BINDINGS, STORED, Object, Resource
from tests.sim.kube.selectors import matches_selector
from tests.sim.kube.status import ApiError, details
from tests.sim.kube.store import Store

Admit = Callable[[str, "Object | None", "Object | None"], None]
"""Judges one write: (operation, the object as it would be, the object as it is). Raises ApiError."""

_VARIABLES = ("object", "oldObject", "request", "params", "namespaceObject", "variables")
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


def admit_all(operation: str, obj: Object | None, old: Object | None) -> None:
    """For writes that nobody judges: the controllers' own."""


@dataclass(frozen=True)
class Admission:
    """The policies of the store."""

    store: Store

    def judge(self, user: str, ask: Ask, version: str, dry_run: bool = False) -> Admit:
        """Judges writes of one request."""
        if not self.store.all(POLICY_BINDINGS):
            return admit_all

        def admit(operation: str, obj: Object | None, old: Object | None) -> None:
            request = _request(user, ask, version, operation, dry_run)
            for binding in self.store.all(POLICY_BINDINGS):
                policy = self.store.get(POLICIES, None, binding.object["spec"]["policyName"])
                if policy is not None and "Deny" in binding.object["spec"]["validationActions"]:
                    self._apply(policy.object, binding.object, request, obj, old)

        return admit

    def _apply(self, policy: Object, binding: Object, request: Object, obj: Object | None, old: Object | None) -> None:
        namespace = self.store.get(NAMESPACES, None, request["namespace"]) if "namespace" in request else None
        known = {"request": request, "object": obj, "oldObject": old, "variables": {}, "params": None}
        known["namespaceObject"] = namespace.object if namespace else None
        if not _constrains(policy["spec"]["matchConstraints"], known):
            return
        # Missing parameters deny before the match conditions are asked: whoever writes.
        for params in list(self._params(policy, binding, request)):
            _validate(policy, binding, {**known, "params": params})

    def _params(self, policy: Object, binding: Object, request: Object) -> Iterator[Object | None]:
        kind, reference = policy["spec"].get("paramKind"), binding["spec"].get("paramRef")
        if not kind or not reference:
            yield None
            return
        resource = next(r for r in STORED if (r.api_version, r.kind) == (kind["apiVersion"], kind["kind"]))
        found = list(self._referred(resource, reference, reference.get("namespace") or request.get("namespace")))
        if not found and reference["parameterNotFoundAction"] == "Deny":
            why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            raise _denied(policy, binding, request, why, None)
        yield from found

    def _referred(self, resource: Resource, reference: Object, namespace: str | None) -> Iterator[Object]:
        if "name" in reference:
            stored = self.store.get(resource, namespace if resource.namespaced else None, reference["name"])
            yield from [stored.object] if stored else []
            return
        for stored in self.store.all(resource, namespace if resource.namespaced else None):
            if matches_selector(reference["selector"], stored.object["metadata"].get("labels") or {}):
                yield stored.object


class EvaluationError(Exception):
    """An expression does not compile, or has no value for these objects."""


def _constrains(constraints: Object, known: Object) -> bool:
    """Whether the policy is about such requests at all."""
    if not any(_covers(rule, known["request"]) for rule in constraints["resourceRules"]):
        return False
    namespace = known["namespaceObject"]
    labels = (namespace["metadata"].get("labels") or {}) if namespace else {}
    return not constraints.get("namespaceSelector") or matches_selector(constraints["namespaceSelector"], labels)


def _covers(rule: Object, request: Object) -> bool:
    resource, sub = request["resource"], request.get("subResource")
    name = resource["resource"]
    wanted = {f"{name}/{sub}", f"{name}/*", "*/*", f"*/{sub}"} if sub else {name, "*", "*/*"}
    return bool(
        {request["operation"], "*"} & set(rule["operations"])
        and {resource["group"], "*"} & set(rule["apiGroups"])
        and {resource["version"], "*"} & set(rule["apiVersions"])
        and wanted & set(rule["resources"])
    )


def _validate(policy: Object, binding: Object, known: Object) -> None:
    spec, request = policy["spec"], known["request"]
    try:
        if not all(_evaluate(each["expression"], known) is True for each in spec.get("matchConditions") or ()):
            return
    except EvaluationError as error:
        raise _denied(policy, binding, request, str(error), None) from None
    values: Object = {}
    for variable in spec.get("variables") or ():
        try:
            values[variable["name"]] = _evaluate(variable["expression"], {**known, "variables": values})
        except EvaluationError:
            pass  # Evaluated when it is used, as the API server does: then it is missing.
    known = {**known, "variables": values}
    for validation in spec.get("validations") or ():
        try:
            if _evaluate(validation["expression"], known) is True:
                continue
            said = validation.get("message") or f"failed expression: {validation['expression'].strip()}"
            if "messageExpression" in validation:
                said = str(_evaluate(validation["messageExpression"], known))
        except EvaluationError as error:
            if spec.get("failurePolicy", "Fail") == "Ignore":
                continue
            raise _denied(policy, binding, request, str(error), None) from None
        raise _denied(policy, binding, request, said, validation.get("reason"))


def _denied(policy: Object, binding: Object, request: Object, said: str, reason: str | None) -> ApiError:
    resource, name = request["resource"], request.get("name")
    names = policy["metadata"]["name"], binding["metadata"]["name"]
    return denied_by_policy(resource["group"], resource["resource"], name, *names, said, reason)


def denied_by_policy(
    group: str, plural: str, name: str | None, policy: str, binding: str, said: str, reason: str | None = None
) -> ApiError:
    """A policy's refusal; 422 where it gives no reason of its own."""
    message = f"ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request: {said}"
    qualified = f"{plural}.{group}" if group else plural
    about = details(name, group, plural)
    about["causes"] = [{"message": message}]
    subject = f'{qualified} "{name}"' if name else qualified
    return ApiError(_CODES[reason or "Invalid"], reason or "Invalid", f"{subject} is forbidden: {message}", about)


def _request(user: str, ask: Ask, version: str, operation: str, dry_run: bool) -> Object:
    said = {"subResource": ask.subresource, "name": ask.name, "namespace": ask.namespace}
    return {
        "operation": operation,
        **{key: text for key, text in said.items() if text},  # What is empty is not there at all.
        "dryRun": dry_run,
        "userInfo": {"username": user, "groups": ["system:authenticated"]},
        "resource": {"group": ask.group, "version": version, "resource": ask.resource},
    }


def _evaluate(expression: str, known: Object) -> Any:
    try:
        value = _compiled(expression).eval(data=known)
    except Exception as error:  # The evaluator has an exception of its own for each mistake.
        raise EvaluationError(f"expression {expression!r} resulted in error: {error}") from error
    if value.type().name() == "ERROR":
        raise EvaluationError(f"expression {expression!r} resulted in error: {value.value()}")
    return value.plain_value()


@lru_cache(maxsize=512)
def _compiled(expression: str) -> Any:
    from cel_expr_python import cel  # Python 3.11 or later; only where there are policies.
    from cel_expr_python.ext import ext_optional, ext_strings

    libraries = [ext_strings.ExtStrings(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=dict.fromkeys(_VARIABLES, cel.Type.DYN), extensions=libraries).compile(expression)
