"""ELFATT's fused kernels in Triton, one source for both frameworks.

`tiles`, `block_heads` and `global_heads` are the kernels. `plan` describes their launches once. `torch_attend` and
`jax_attend` each put those launches behind the derivative of their framework.
"""
