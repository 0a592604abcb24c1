"""Notices (webhooks) as their owners see them: what was sent, how that went, and send it again."""
