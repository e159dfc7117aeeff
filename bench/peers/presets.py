"""Sizes of the presets of models/dhc_jamba.dhc that peers are written for."""
PRESETS = {
    "small": dict(hidden_dim=32, num_layers=4, num_heads=4, num_experts=4),
    "medium": dict(hidden_dim=64, num_layers=8, num_heads=8, num_experts=8),
    "large": dict(hidden_dim=128, num_layers=12, num_heads=8, num_experts=16),
}
# The stack of medium as layers/jamba has it, causal: what a step of it is measured on.
STACK = dict(d_model=256, num_layers=8, mamba_ratio=7, num_heads=8, num_experts=8, window=64)
