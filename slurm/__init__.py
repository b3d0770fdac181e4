"""Where it runs: how many bundles a machine holds, and what each stage will cost."""
