"""Generation: a conditional GAN of which the discriminator alone sees patients.

``wavelets`` is the discriminator's fixed front end, ``generators`` draw, ``networks`` builds a plan's two
networks, ``teacher`` is the generator's step, ``training`` a site's part of a round, ``drawing`` what a
generator draws, ``task`` the door.

Privacy: see each module.
"""
