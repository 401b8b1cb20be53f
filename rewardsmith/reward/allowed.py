"""The names that a reward may use. One list for the dialect, the reward process and the prompt."""

from __future__ import annotations

NUMPY_FUNCTIONS = frozenset(
    """
    abs absolute add all allclose amax amin any append arange arccos arccosh arcsin arcsinh arctan
    arctan2 arctanh argmax argmin argsort around array array_equal asarray atleast_1d atleast_2d
    average broadcast_to cbrt ceil clip column_stack concatenate copy copysign cos cosh
    count_nonzero cross cumprod cumsum deg2rad degrees diff divide dot dstack einsum equal exp exp2
    expand_dims expm1 fabs flip float_power floor floor_divide fmax fmin fmod full full_like greater
    greater_equal heaviside hstack hypot inner interp isclose isfinite isinf isnan less less_equal
    linspace log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor matmul
    max maximum mean median min minimum mod moveaxis multiply nan_to_num nanmax nanmean nanmin
    nansum negative nonzero not_equal ones ones_like outer percentile power prod ptp quantile
    rad2deg radians ravel reciprocal remainder repeat reshape roll round searchsorted select sign
    sin sinc sinh sort sqrt square squeeze stack std subtract sum swapaxes take take_along_axis tan
    tanh tile transpose tril triu trunc unwrap var vstack where zeros zeros_like
    """.split()
)
NUMPY_LINALG = frozenset({"norm", "det"})
NUMPY_CONSTANTS = frozenset({"pi", "e", "inf", "newaxis"})
NUMPY_TYPES = frozenset({"float64", "float32", "int64", "int32", "bool_"})
NUMPY_KEYWORDS = frozenset(
    """
    a_max a_min append arr axes axis axis1 axis2 axisa axisb axisc choicelist condlist ddof decimals
    default destination dtype endpoint equal_nan fill_value initial k keepdims left max min n nan
    ndmin neginf num offset optimize ord order_by posinf prepend q repeats reps right rtol atol
    shape shift side source start step stop t weights x1 x2
    """.split()
)

MATH_FUNCTIONS = frozenset(
    """
    acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh degrees dist erf exp expm1 fabs
    floor fmod fsum hypot isclose isfinite isinf isnan log log10 log1p log2 pow radians sin sinh
    sqrt tan tanh trunc
    """.split()
)
MATH_CONSTANTS = frozenset({"pi", "e", "inf", "tau"})

BUILTIN_FUNCTIONS = frozenset(
    """
    abs all any bool dict enumerate float int len list max min pow range reversed round sorted sum
    tuple zip
    """.split()
)
BUILTIN_TYPES = frozenset({"bool", "float", "int"})
BUILTIN_KEYWORDS = frozenset({"start", "default", "strict", "reverse"})

METHODS = frozenset(
    """
    all any append argmax argmin argsort astype clip copy cumsum cumprod dot extend flatten get item
    items keys max mean min nonzero prod ravel repeat reshape round squeeze std sum swapaxes
    take tolist transpose update values var
    """.split()
)
ATTRIBUTES = frozenset({"shape", "ndim", "size", "T", "dtype"})

DTYPE_CALLS = {
    "astype": 0,
    "array": 1,
    "asarray": 1,
    "zeros": 1,
    "ones": 1,
    "zeros_like": 1,
    "ones_like": 1,
    "full": 2,
    "full_like": 2,
    "arange": 3,
}
"""Calls in which ``float`` or ``np.float64`` may stand as an argument, and as the which one.

Elsewhere it would be a value: ``np.array(float).item()`` is the type itself."""
