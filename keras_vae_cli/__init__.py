"""The command line and its settings: everything that must answer before TensorFlow is imported.

`import keras_vae` imports TensorFlow, and any module inside that package would import the package first. So the part
that parses arguments and checks configs stands beside it, and imports `keras_vae` only when there is work to do.
"""
