"""Rewriting: the graph at work, the engine that tries rules, the prices it judges by."""
