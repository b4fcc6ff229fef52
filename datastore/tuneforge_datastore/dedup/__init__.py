"""Near-duplicate removal: shingles, MinHash bands, true Jaccard, greedy keep-first."""
