"""What to run: sweep file → plan → bundles → jobs; the `retain` command."""
