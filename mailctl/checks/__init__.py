"""The checks of `check-config`: each yields findings about one part of the configuration, with a fix."""
