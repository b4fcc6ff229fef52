"""Merges whose result is an adapter: LoRAs into one LoRA, and a fine-tune taken back to a LoRA."""

from typing import Final

# method -> what the plan says about it
ADAPTER_METHODS: Final[dict[str, str]] = {
    "lora_cat": "exact: factors side by side",
    "lora_svd": "Eckart and Young 1936, through QR of the factors",
    "lora_extract": "truncated SVD; randomised above a million elements: arXiv:0909.4061",
}
