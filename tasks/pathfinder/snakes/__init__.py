"""The generator behind Pathfinder: two long dashed curves among short ones, discs at two of their ends.

It follows the published generator's rejection process step by step, compiled, with every paddle drawn beforehand:
`settings` holds the arguments, `stamps` what is drawn beforehand, `curves` the rejection process, `drawing` the pixels,
`sampler` whole images. Importing the package loads neither the compiler nor the image library.
"""
