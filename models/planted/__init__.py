"""Planted pictures: procedurally drawn objects on backgrounds, with cues whose masks are known exactly."""
