"""Find every use of MLflow that breaks between two releases, in code, notebooks, shell, YAML, images and documents.

A file goes through one analyser, chosen by its name and content (`scan.surfaces`). Analysers find *uses*: a Python
name with the arguments of its call, the words of a command, the path of an endpoint, a variable. What a use means
between release A and release B is decided in one place, `scan.judge`, from the catalogue of releases and a small
curated facts of `knowledge.breaks`: so a rule holds for any pair of releases, and every surface says the same.
"""
