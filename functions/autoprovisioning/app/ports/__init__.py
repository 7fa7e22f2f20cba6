"""What the use cases need from outside, as Protocols of a few verbs each.

Every adapter translates its SDK's errors into `domain.errors`; every outside call has a timeout and bounded retries
inside the adapter.
"""
