"""ELFATT's fused kernels in Triton, one source for both frameworks.

tiles and the two kinds of heads are the kernels; plan says once how they are launched; torch_attend and jax_attend each
put those launches behind the derivative of their framework.
"""
