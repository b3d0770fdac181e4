"""One stage of training or evaluation, on whatever ranks it is given."""
