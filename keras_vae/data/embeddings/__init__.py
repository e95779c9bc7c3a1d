"""Vectors that stand for things: a data set of them that is made here."""
