"""`make bench`: what we measure, against what, in one run. A figure is a ratio against a floor taken beside it."""
