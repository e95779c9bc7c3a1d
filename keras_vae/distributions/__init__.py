"""Distributions, bijectors and linear operators that TFP lacks."""
