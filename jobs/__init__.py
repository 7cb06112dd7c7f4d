"""What runs for minutes: data sets, the queue, shards, audits, reports and the store they live in."""
