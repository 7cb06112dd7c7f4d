"""The commands of `cuecheck`, one noun per file."""
