"""A dataset looked at by people: a sample of its rows, their labels, what that proves.

    audit/sample.py     which rows are shown, in which order
    audit/labels.py     what reviewers said, on disk: DIR/audit/
    audit/standing.py   what is known so far, in figures and words
    audit/card.py       the same in the dataset's card

`synthkd audit DIR` (`synthkd.cli.audit`) shows the rows and takes the labels.
"""
