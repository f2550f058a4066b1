"""The other side of the channels on this machine: the providers' APIs, strict as the real ones, and their customers.

It runs as a process of its own (`python -m sandbox`) and shares no code with the product, which cannot tell it
from the real providers: only base URLs differ. `docs/sandbox.md` is its manual.
"""
