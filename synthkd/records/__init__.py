"""Records: what a document says, as the values of fields that a schema names. Pure.

schema.py    the fields, their types, and what is made of them: the JSON Schema, the prompt's table
loading.py   a schema out of a pipeline file, or of a file of its own
numerals.py  the numerals of a text, and which of two ways to read one
dates.py     dates, in the ways they are written
money.py     amounts with their currency
units.py     numbers with their unit
values.py    one spelling for each value of a field, or why there is none
reading.py   a record out of what somebody wrote: fenced, cut, or with other names for its fields
support.py   whether a passage says a value
faults.py    why a value has no spelling
agreeing.py  several readings of one document as one record
"""
