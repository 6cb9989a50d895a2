"""The generator of Pathfinder: two long dashed curves among short ones, and discs at two of their ends.

It follows the published generator's rejection process step by step, as compiled code, with paddles drawn in advance.
`settings` has the arguments, `stamps` the paddles, `curves` the rejection process. `drawing` has the pixels, and
`sampler` whole images. Importing the package loads neither the compiler nor the image library.
"""
