"""Reading files of tensors without running code from them."""
