"""jaxrecon."""
from .operator import LinearOperator, batched, dense, operator_norm, real_part, stack
from .operators import Diagonal, Identity, Matrix, linear
from .value import static, value
