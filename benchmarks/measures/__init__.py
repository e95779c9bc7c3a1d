"""What configs promise, measured: a file for each number that a promise can name.

A file here has a function `measure(run: pathlib.Path) -> float`: the folder of a finished run of `keras-vae train` in,
a number out. Its docstring says what the number is and its unit. Whatever it draws at random has a fixed seed, so that
a run measured twice gives the same number twice. What helps:

    from keras_vae_cli.commands import run_folder

    run_folder.read_report(run)  # report.json, with the ELBO of the test data
    settings, vae, splits = run_folder.open_run(run, run_folder.make_console(quiet=True))

`python benchmarks/measure.py METRIC RUN` prints one of them; benchmarks/configs.py does so for all promises of a
config, each in a process of its own.
"""
