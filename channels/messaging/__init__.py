"""What Messenger and Instagram share: the envelope of their callbacks, what messages say, calls, refusals, files.

The two channels, `channels/facebook.py` and `channels/instagram.py`, call this; it knows no account's settings.
"""
