"""The whole cloud on loopback: emulators, simulators and the functions, under one supervisor.

Nothing here is imported by the functions, and the simulators import nothing from them.
"""
