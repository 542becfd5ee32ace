"""Task cards: what a task is, in a file: purpose, inputs, output, rules (AnyTaskTune, 2407.07094).

card.py        a card, read from YAML and checked
possible.py    what no value could ever fit
paths.py       where a value stands in inputs and output
rules.py       what must hold beyond the schema, declared and never executed
made.py        what a teacher wrote for a card, as the fields of a row
answer.py      `cards.answer`: a card applied to inputs that are there
write.py       `cards.write`: inputs and outputs written for cards, exactly so many
"""
