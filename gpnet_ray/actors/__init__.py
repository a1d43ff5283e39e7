"""Thin Ray wrappers around the rooms that compute: no mathematics here."""
