"""Provisioning one user: read both sides, decide, and carry it out under a mark and the guard."""
