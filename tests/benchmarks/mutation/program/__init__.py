"""A tiny checkpoint with one fault in it, behind HTTP: runs in the reference's environment, beside torch.

hand        how a fault is put in, and how its null twin is: the same machinery without the fault
finding     where in a model a fault can be put
fields, positions, attention, weights, norms, experts, recurrent, rounding
            the operators, by what they are about
operators   the list of them
building    the pristine model, and each mutant made of it
feeding     the numeric path: in chunks, with a cache, in batches
doubled     float64 throughout, for what is said to be equivalent
serving     the routes
"""
