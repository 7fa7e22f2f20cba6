"""The use cases: administration and runs over provisioning, notifications beside them, all over the ports."""
