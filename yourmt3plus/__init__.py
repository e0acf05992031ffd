"""Any recording in, multi-instrument notes out: YourMT3+ (arXiv 2407.04822)."""
