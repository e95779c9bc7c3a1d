"""Series [steps, channels]: what is asked of arrays of them, and a data set of them that is made here."""

from keras_vae.data.series.checks import NOT_SERIES, checked_series

__all__ = ["NOT_SERIES", "checked_series"]
