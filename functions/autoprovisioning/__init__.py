"""Keeps Keeper in step with the Google Workspace directory.

Imports point inwards: entrypoints -> bootstrap -> adapters -> app -> domain.
"""
