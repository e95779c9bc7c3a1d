"""A page to play with: one HTML file in which a decoder runs, without a server and without a network."""

from keras_vae.explorer.browsers import find_browser
from keras_vae.explorer.checks import Checked, check_page
from keras_vae.explorer.layers import CannotShow
from keras_vae.explorer.page import PRECISIONS, make_page

__all__ = ["PRECISIONS", "CannotShow", "Checked", "check_page", "find_browser", "make_page"]
