"""The stages: each reads its inputs from the workspace, calls pure functions, writes outputs; both front doors use them."""
