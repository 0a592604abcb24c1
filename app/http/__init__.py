"""What the HTTP doors share: how a request is read, who asks, limits, and how it is answered."""
