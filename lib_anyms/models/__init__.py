"""Which model files there are, and how missing ones are downloaded."""
