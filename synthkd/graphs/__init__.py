"""Knowledge as triples: how they are written, where they stand in a text, what they must fit.

triple.py     a head, a relation, a tail, and what is known about them
notation.py   triples out of what a teacher wrote, and the grammar that students learn
ground.py     where a name stands in a text
ontology.py   concepts and relations that are given
relations.py  relations of commonsense, put into words
persons.py    names for PersonX and PersonY, put in and taken out
passages.py   a document as sentences and passages
entities.py   entities out of what a teacher wrote
resolve.py    which names are one entity's
stated.py     what several replies state, as one graph
whole.py      the triples of many documents as one graph, and its figures
export.py     a whole graph as Parquet, GraphML and N-Triples
picture.py    a graph as a picture, as much of it as can be read
coverage.py   how much of some triples others have
retrieval.py  which propositions bear on a question
needed.py     libraries of the extra `graph`
"""
