"""How hard an instruction is: one field, `difficulty`, higher = harder, by several measures.

measured.py     what all have in common: settings, the field and its parts, the figures
mfd.py          what the student's answer lacks against the teacher's, to a judge (TAPIR)
pass_rate.py    how often the student is right, where that can be checked
ifd.py          how little the instruction helps a model to the answer (IFD, Superfiltering)
judge.py        what a judge says of the instruction alone
together.py     what a judge says of instructions that were made from each other, seen at once
agreement.py    how much the candidates of a row disagree
residual.py     a difficulty without what its text's length explains
"""
