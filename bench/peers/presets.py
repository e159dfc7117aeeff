"""Sizes of the presets of models/dhc_jamba.dhc that peers are written for."""
PRESETS = {
    "small": dict(hidden_dim=32, num_layers=4, num_heads=4, num_experts=4),
    "medium": dict(hidden_dim=64, num_layers=8, num_heads=8, num_experts=8),
    "large": dict(hidden_dim=128, num_layers=12, num_heads=8, num_experts=16),
}
