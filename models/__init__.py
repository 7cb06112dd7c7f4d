"""What is computed: pure tensors in, tensors out. No HTTP, no Redis, no disk layout but its own weights."""
