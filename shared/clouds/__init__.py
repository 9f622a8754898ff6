"""What clouds tell anybody who asks, translated into our errors."""
