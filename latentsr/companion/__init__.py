"""What knows DVC, papermill, the ledger and the book."""
