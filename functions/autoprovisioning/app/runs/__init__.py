"""Runs over everybody: read the directory, plan, guard, dispatch, apply in batches, close."""
