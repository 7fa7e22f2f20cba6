"""Notifications of the directory: their channels, and what comes in through them."""
