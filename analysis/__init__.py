"""What came out: gather → retention → statistics → figures → report."""
