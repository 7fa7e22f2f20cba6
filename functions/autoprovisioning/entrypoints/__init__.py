"""The doors: parse, build services, call one use case, translate."""
