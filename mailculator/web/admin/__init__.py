"""The operators' page: its files, and the API behind them, on a port of their own."""
