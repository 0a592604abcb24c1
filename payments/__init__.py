"""The purse: Lightning as it really is. I/O; knows money, never the law."""
