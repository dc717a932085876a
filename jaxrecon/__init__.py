"""jaxrecon."""
from jax.tree_util import Partial
from .operator import LinearOperator, batched, dense, operator_norm, real_part, stack
from .operators import Diagonal, Identity, Matrix, linear
from .consistency import *
from .fidelity import LeastSquares
from .solvers import *
from .value import static, value
