"""One generation: from a request to an image and its infotext."""
