"""Mixtures of several sources: `draw` decides how often a document is taken, `passes` and `work` do it."""
