"""The command ``planet-ros``."""
