"""Decisions from records: candidates, their rates, finalists, recommendation, verdict."""
