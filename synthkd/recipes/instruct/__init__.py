"""Instructions that a teacher writes: from seeds, in waves, each looked at before it counts.

    waves.py        the driver: asks a wave, gates, accepts exactly so many
    offers.py       what is asked and offered, and the pool of what was accepted
    yields.py       the books: what was lost and why, what the rest will take
    novelty.py      ROUGE-L against all that was accepted, without comparing with each
    written.py      what instructions must look like, each fault with its reason
    instances.py    `instruct.instances`: inputs and outputs for instructions
    seeded.py       `instruct.self` and `instruct.expand`: more like the seeds
    magpie.py       `instruct.magpie`: what a model writes for a user; turns.py: chat templates
    grid.py         `instruct.grid`: made to attributes; cover.py: which combinations

and row steps, which keep nothing between rows:

    evolve.py       `instruct.evolve`, `instruct.refine`: harder, other, better
    back.py         `instruct.back`: of a text, the instruction that it answers
    elimination.py  what is no new instruction; `instruct.eliminate`: what is no answer
    constraints.py  `instruct.constraints`: drawn; constraint.py, checkers.py: checked

A generator is a table step whose memory is the pool of what was accepted. What a wave asks is a
function of seeds, settings, chance and that pool alone, and replies are treated in the order of the
questions: whatever the order of completion and wherever a run was killed, the rows are the same and
no answer is bought twice.
"""
