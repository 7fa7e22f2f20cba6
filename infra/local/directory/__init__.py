"""A Workspace customer behind the Admin SDK Directory API's surface, with real notifications and faults on demand."""
