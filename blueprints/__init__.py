"""The edge towards people and systems: who is asking, what they sent, and the one commit at the end of it."""
