"""Who waits for a change: long polls, streams, and the one listener behind them."""
