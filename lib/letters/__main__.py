"""The other side of `apart`: `python -m lib.letters`."""

from lib.letters.apart import serve

serve()
