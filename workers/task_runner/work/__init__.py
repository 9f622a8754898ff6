"""What an operation is given to work with."""
