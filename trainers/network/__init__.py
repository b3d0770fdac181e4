"""The network: an encoder without padding, and a head for each task.

In come token ids; out come hidden states and losses.  `xlmr` is XLM-R's architecture, `encoder` reads and writes its
folder, `attention` computes packed sequences, `heads` are the tasks', and `model` joins them for one stage.  A `batch`
is what the model is given.
"""
