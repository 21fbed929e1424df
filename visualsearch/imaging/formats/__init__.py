"""The formats of picture files: how each is recognised, and what of its markers is judged before it is decoded."""
