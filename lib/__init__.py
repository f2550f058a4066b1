"""Leaves that know nothing of this product. They import nothing of ours, and everybody may import them."""
