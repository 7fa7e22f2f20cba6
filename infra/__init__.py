"""What surrounds the functions: the cloud's description (gcp) and the whole cloud on a laptop (local)."""
