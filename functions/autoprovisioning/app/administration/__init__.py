"""What administrators do and see: settings, decisions, questions, and how everything is doing."""
