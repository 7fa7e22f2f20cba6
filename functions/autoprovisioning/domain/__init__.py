"""The decisions: pure, standard library only, no clock, no logging, no randomness."""
