"""The verbs of the business. `business` comes first in every signature; none commits, none knows the web."""
