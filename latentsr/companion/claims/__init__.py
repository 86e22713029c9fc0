"""The ledger: the paper's claims beside what was measured."""
