"""What the locks pin: a list of it for others to read (sbom), and what is known to be vulnerable of it (audit)."""
