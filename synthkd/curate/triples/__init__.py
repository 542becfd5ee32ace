"""What becomes of a row's triples: grounded in its text, held to an ontology, agreed on."""
