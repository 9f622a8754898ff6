"""The contract with Central as documents: ``make docs`` writes docs/openapi.json and docs/asyncapi.json."""
