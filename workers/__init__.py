"""The five programs supervisord runs; a worker never imports another worker."""
