"""What people's part comes to, against exact masks: `python -m tests.truth annotation --work FOLDER`."""
