"""Recordings: events of cameras, cochleas and skins, from their files to frames over time."""
