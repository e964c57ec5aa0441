"""What surrounds every contract call: checks, tenant binding, deadline, retries, errors, logs, traces, metrics."""
