"""What only a simulation can measure, one package for each task that has something of the kind.

Privacy: everything in here reads the images of all sites; its results are labelled "simulation only".
"""
