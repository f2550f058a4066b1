"""Mails taken apart: the bytes as they came give a `Letter`, whatever they are, within strict bounds.

Called by the email channel, through `apart`, which does it in a process of its own. Nothing here asks the network.
"""

from lib.letters.apart import Unreadable, file, read
from lib.letters.bodies import File
from lib.letters.letter import Letter, outline
from lib.letters.reports import Report

__all__ = ["File", "Letter", "Report", "Unreadable", "file", "outline", "read"]
