"""Number formats and streams: each a slow scalar reference and a fast form."""
