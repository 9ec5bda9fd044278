"""Image classification: two classes, one image at a time.

``scattering`` and ``networks`` are the models, ``training`` a site's part of a round, ``scoring`` what the
model says about held-out patients, ``task`` the door.

Privacy: see each module.
"""
