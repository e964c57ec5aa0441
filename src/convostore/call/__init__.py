"""What surrounds every contract call: argument checks, tenant binding, deadline, retries, errors, logs and traces."""
