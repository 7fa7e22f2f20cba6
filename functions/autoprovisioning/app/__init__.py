"""The use cases, one verb a module, over the ports in `ports.py`."""
