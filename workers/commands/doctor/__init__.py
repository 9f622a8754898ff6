"""``cloudoptim-agent doctor``: every line of the integration checklist, checked, with what to do."""
