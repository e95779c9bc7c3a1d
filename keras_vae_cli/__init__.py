"""The command line and its settings.

`import keras_vae` imports TensorFlow, and any module inside that package would import the package first. So the part
that parses arguments and checks configs stands beside it, and what needs the package, in `commands/`, is imported only
when there is work to do.
"""
