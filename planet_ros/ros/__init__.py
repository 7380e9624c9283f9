"""Thin nodes: they convert messages, call plain objects and publish what those return."""
