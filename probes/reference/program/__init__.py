"""The reference forward pass and its noise replicates, as a program that stands alone.

It runs in an environment of its own (torch, transformers, greenlet and numpy; nothing else of this project is imported)
as `python -P probes/reference/program COMMAND ...`:

    describe                                        versions and threads, as JSON on stdout
    build --model DIR --corpus TOML --out NPZ       make a corpus of token ids and score it
    score --model DIR --ids JSON --out NPZ          score the token ids that an engine was given or generated

Both `build` and `score` write, for the reference (float32 arithmetic, eager attention, batch 1, no cache) and
for every noise replicate (bfloat16, each along another numeric path), what each position's context says of
the next token. In the arrays below column n belongs to token n + 1 of its sequence, and the sequences are
padded to the longest one (target_logprobs, logsumexp and top_logprobs with NaN, ids with -1):

    token_ids [S, L] int32      lengths [S] int32      prompt_lengths [S] int32      domain [S] str
    <name>/target_logprobs [S, L-1] float32     <name>/logsumexp [S, L-1] float32
    <name>/top_ids [S, L-1, K] int32            <name>/top_logprobs [S, L-1, K] float32, descending
    metadata: JSON text in an array of no dimension

A model that `--memory` bytes do not hold is read part by part (`streamed`); with `--work DIR` a stopped run goes on
where it was (`resume`). Wrong input (no such model folder, a damaged shard, a corpus too short, an id outside the
vocabulary) is one line on stderr and exit status 2.
"""
