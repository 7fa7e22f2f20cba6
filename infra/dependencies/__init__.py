"""What the locks pin: a list of it for others to read (sbom), and which of it is known to be vulnerable (audit)."""
