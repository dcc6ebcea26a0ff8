"""The colours of figures and charts: Okabe and Ito's, which people with any colour vision tell apart."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
OTHER_COLOR = "#777777"
BASE, NEW = "#999999", "#0072B2"
"""Of the two sides of a comparison."""
LESS, MORE = "#009E73", "#D55E00"
"""Of what falls and what rises."""
