"""The HTTP entry points: parse, build services, call one use case, translate."""
